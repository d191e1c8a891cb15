"""Finding the tools of an adapter that was written for the original.

Owns which classes are such adapters and what is made of them. Such an adapter has methods with the
mark of `snakepit_bridge`'s `tool`, or an `execute_tool` that takes every name, or both; then
`execute_tool` has the word.
"""

from __future__ import annotations

from snakepit import _schema
from snakepit._discover import as_if_bound, classes_in, only_one
from snakepit._docstring import Docstring
from snakepit._errors import StartError
from snakepit._native import Tool
from snakepit._signature import MISSING, VAR_KEYWORD, hints_of, kind_of, parameters_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from snakepit._signature import Parameter

METADATA = "_tool_metadata"
"""What the original's `tool` leaves on a function."""

DEFAULT = "__snakepit_default__"
"""Marks an `execute_tool` that only calls the method of that name."""

PER_CALL = "__per_call__"
"""Says whether an object of the class is made for each call."""

_ANY_NAME = "*"
_ANY_ARGUMENTS = [("arguments", VAR_KEYWORD, False, 0, "")]
_EXECUTE_PARAMETERS = ("tool_name", "arguments", "context")


def original_of(module: ModuleType | None, cls: type | None) -> Original | None:
    """Takes an adapter that was written for the original.

    Args:
        module: Its module, if it was named by one.
        cls: Its class, if that was named.

    Returns:
        The adapter, unless it is of another kind.

    Raises:
        StartError: If a module has several of them.
    """
    if cls is None:
        cls = None if module is None else _class_of(module)
    return Original(cls) if cls is not None and _is_original(cls) else None


def _class_of(module: ModuleType) -> type | None:
    found = [cls for cls in classes_in(module) if _is_original(cls)]
    # One that others of the module are derived from is not meant.
    leaves = [cls for cls in found if not any(issubclass(o, cls) and o is not cls for o in found)]
    return only_one(module, leaves)


def _is_original(cls: type) -> bool:
    return callable(getattr(cls, "execute_tool", None)) or bool(_marked_in(cls))


def _marked_in(cls: type) -> list[str]:
    """Lists the marked methods in the order of their definition, inherited ones first."""
    names = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    return [name for name in names if hasattr(getattr(cls, name, None), METADATA)]


class Original:
    """An adapter class that was written for the original.

    Attributes:
        cls: The class.
        per_call: Whether an object of it is made for each call. In the original that is always so.
            Of a `ThreadSafeAdapter` there is one object, whose locks and shared state would be
            for nothing otherwise; `__per_call__` says it for any class.
    """

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.per_call = bool(getattr(cls, PER_CALL, True))
        execute: Any = getattr(cls, "execute_tool", None)
        self._execute: Callable[..., Any] | None = (
            None if execute is None or hasattr(execute, DEFAULT) else execute
        )
        self._takes_names = self._execute is not None and _takes_names(cls, self._execute)
        marked = _marked_in(cls)
        self._tools: list[tuple[str | None, Tool]] = [(name, self._tool(name)) for name in marked]
        if self._execute is not None:
            self._tools.append((None, _tool_for_any_name(self._execute)))
        elif not marked:
            raise StartError(
                "discover",
                f"adapter class `{cls.__qualname__}` has no tools",
                "mark its methods with @tool of snakepit_bridge.base_adapter, or give it an "
                "execute_tool(tool_name, arguments, context)",
            )

    def tools(self, function_of: Callable[[str | None], Callable[..., Any]]) -> list[Tool]:
        """Returns the tools.

        Args:
            function_of: Makes the function of a tool: for the method of that name, or for whatever
                name is called if there is none.
        """
        # With an `execute_tool` of its own, that decides what becomes of each name.
        own = self._execute is not None
        return [tool.bound_to(function_of(None if own else name)) for name, tool in self._tools]

    def execute(
        self, adapter: Any, command: str, arguments: dict[str, Any], context: object
    ) -> Any:
        """Has the adapter execute a tool by name."""
        if self._takes_names:
            return adapter.execute_tool(tool_name=command, arguments=arguments, context=context)
        return adapter.execute_tool(command, arguments, context)

    def _tool(self, name: str) -> Tool:
        function: Any = as_if_bound(self.cls, name) or getattr(self.cls, name)
        metadata: Any = getattr(function, METADATA)
        docstring = Docstring(getattr(function, "__doc__", None))
        streams = bool(getattr(metadata, "supports_streaming", False))
        streams = streams or kind_of(function).endswith("generator")
        parameters, hints = _parameters(function)
        return Tool(
            name,
            function,
            "either_streaming" if streams else "either",
            # Hints were never held against arguments: adapters accept what contradicts them.
            _ANY_ARGUMENTS
            if self._execute is not None
            else [(p.name, p.kind, p.required, 0, "") for p in parameters],
            description=str(getattr(metadata, "description", "") or docstring.summary),
            parameters_schema=_schema.parameters_schema(parameters, docstring.arguments),
            returns_schema=_schema.returns_schema(hints.get("return", MISSING), streaming=streams),
        )


def _tool_for_any_name(execute: Callable[..., Any]) -> Tool:
    summary = Docstring(getattr(execute, "__doc__", None)).summary
    return Tool(
        _ANY_NAME,
        execute,
        "either",
        _ANY_ARGUMENTS,
        description=summary or "Whatever name is called: the adapter's execute_tool decides.",
        parameters_schema='{"type":"object","additionalProperties":true}',
    )


def _takes_names(cls: type, execute: Callable[..., Any]) -> bool:
    """Whether `execute_tool` can be given its arguments by the names the original gives them."""
    try:
        parameters = parameters_of(as_if_bound(cls, "execute_tool") or execute, {})
    except (TypeError, ValueError):
        return False
    names = {parameter.name for parameter in parameters}
    takes_any = any(parameter.kind == VAR_KEYWORD for parameter in parameters)
    return takes_any or names.issuperset(_EXECUTE_PARAMETERS)


def _parameters(function: Callable[..., Any]) -> tuple[list[Parameter], dict[str, Any]]:
    """Reads parameters and hints, the latter only if they can be made sense of."""
    try:
        hints = hints_of(function)
        parameters = parameters_of(function, hints)
        _schema.parameters_schema(parameters, {})
        _schema.returns_schema(hints.get("return", MISSING), streaming=False)
    except (AttributeError, NameError, TypeError, ValueError):
        return parameters_of(function, {}), {}
    return parameters, hints
