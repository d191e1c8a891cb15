"""What the original has and these workers have not.

Owns the names, and what to use instead of each. A missing module is told of only after all of
`sys.path` was looked at: a program's own module of such a name is found.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

_STUBS = (
    "workers of this host speak no gRPC of their own; values cross by themselves, and the host's "
    "tools are called with `context.call_elixir_tool(name, **arguments)`"
)
_VARIABLES = (
    "session variables ended with version 0.5 of the original; keep what belongs to a session in "
    "the host's session store, or in a dictionary by `context.session_id`"
)
_OLD_BRIDGE = (
    "the bridge over pipes ended with version 0.4 of the original; derive the adapter from "
    "`snakepit_bridge.base_adapter.BaseAdapter`"
)
_TEMPLATE = "it is a file to copy; `snakepit config init` and docs/original-adapters.md start one"

_MODULES = {
    "snakepit_bridge_pb2": _STUBS,
    "snakepit_bridge_pb2_grpc": _STUBS,
    "snakepit_bridge.grpc": _STUBS,
    "snakepit_bridge.snakepit_bridge_pb2": _STUBS,
    "snakepit_bridge.snakepit_bridge_pb2_grpc": _STUBS,
    "snakepit_bridge.heartbeat": "workers show signs of life by themselves; leave the import out",
    "snakepit_bridge.zero_copy": "return arrays and bytes as they are: large ones take no detour",
    "snakepit_bridge.otel_tracing": "use `snakepit_bridge.telemetry`",
    "snakepit_bridge.types": _VARIABLES,
    "snakepit_bridge.variable_aware_mixin": _VARIABLES,
    "snakepit_bridge.session_context_enhanced": _VARIABLES,
    "snakepit_bridge.dspy_integration": "DSPex has these classes, in `dspex_adapters`",
    "snakepit_bridge.core": _OLD_BRIDGE,
    "snakepit_bridge.cli": _OLD_BRIDGE,
    "snakepit_bridge.adapters.generic": _OLD_BRIDGE,
    "snakepit_bridge.adapters.enhanced": _OLD_BRIDGE,
    "snakepit_bridge.adapters.template": _TEMPLATE,
    "snakepit_bridge.adapters.showcase.handlers": "the showcase's tools are in `snakepit.showcase`",
}

_NAMES = {
    "BaseCommandHandler": _OLD_BRIDGE,
    "GenericCommandHandler": _OLD_BRIDGE,
    "ProtocolHandler": _OLD_BRIDGE,
    "TypeValidator": _VARIABLES,
    "VariableNotFoundError": _VARIABLES,
    "VariableProxy": _VARIABLES,
    "VariableType": _VARIABLES,
}


class _Refusal:
    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG004
        target: ModuleType | None = None,  # noqa: ARG004
    ) -> None:
        """Finds nothing, and says what to use instead of what it knows."""
        advice = _MODULES.get(name)
        if advice is not None:
            raise ModuleNotFoundError(f"there is no `{name}` here: {advice}", name=name)


def watch() -> None:
    """Refuses, from now on, the import of what is not here with advice."""
    sys.meta_path.append(_Refusal)


def refuse_name(name: str) -> None:
    """Says what to use instead of a name of the package, if it was one.

    Raises:
        ImportError: If so.
    """
    advice = _NAMES.get(name)
    if advice is not None:
        raise ImportError(f"there is no `snakepit_bridge.{name}` here: {advice}")
