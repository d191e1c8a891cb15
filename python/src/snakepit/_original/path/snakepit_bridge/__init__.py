"""The import paths and classes that adapters of the original use, on these workers.

Owns names only: what stands behind them is in the package `snakepit`. What cannot exist here, such
as gRPC stubs, fails at its import and says what to use instead.
"""

from __future__ import annotations

from . import _gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import telemetry
    from .base_adapter import BaseAdapter, StreamChunk, ToolMetadata, tool
    from .base_adapter_threaded import ThreadSafeAdapter, thread_safe_method
    from .logging_config import configure_logging, get_logger
    from .session_context import SessionContext

__version__ = "0.13.0"

__all__ = [
    "BaseAdapter",
    "SessionContext",
    "StreamChunk",
    "ThreadSafeAdapter",
    "ToolMetadata",
    "__version__",
    "configure_logging",
    "get_logger",
    "telemetry",
    "thread_safe_method",
    "tool",
]

_PLACES = {
    "BaseAdapter": "base_adapter",
    "SessionContext": "session_context",
    "StreamChunk": "base_adapter",
    "ThreadSafeAdapter": "base_adapter_threaded",
    "ToolMetadata": "base_adapter",
    "configure_logging": "logging_config",
    "get_logger": "logging_config",
    "telemetry": "telemetry",
    "thread_safe_method": "base_adapter_threaded",
    "tool": "base_adapter",
}

_gone.watch()


def __getattr__(name: str) -> object:
    # Loaded when first asked for: most adapters use one or two of them.
    place = _PLACES.get(name)
    if place is None:
        _gone.refuse_name(name)
        raise AttributeError(f"module `snakepit_bridge` has no attribute `{name}`")
    from importlib import import_module

    module = import_module(f"{__name__}.{place}")
    return module if name == place else getattr(module, name)
