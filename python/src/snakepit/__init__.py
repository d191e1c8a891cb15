"""Python workers for Rust services: what an adapter needs.

An adapter is a module or a class whose functions are marked with `tool`:

    import snakepit

    @snakepit.tool
    def greet(name: str, excited: bool = False) -> str:
        return f"Hello, {name}{'!' if excited else '.'}"

While a tool runs, `context` tells it about its call: the time left, whether anybody still waits,
where to report progress, and lets it call tools of the host.
"""

from snakepit._adapter import Adapter
from snakepit._context import context
from snakepit._native import (
    ArgumentsError,
    Buffer,
    Cancelled,
    DecodeError,
    EncodeError,
    HostError,
    Marker,
    __version__,
)
from snakepit._tool import tool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snakepit._host_tool import HostTool, ToolError
    from snakepit._threadsafe import (
        ThreadSafeAdapter,
        ThreadSafetyError,
        require_thread_safe,
        thread_safe_method,
    )

__all__ = [
    "Adapter",
    "ArgumentsError",
    "Buffer",
    "Cancelled",
    "DecodeError",
    "EncodeError",
    "HostError",
    "HostTool",
    "Marker",
    "ThreadSafeAdapter",
    "ThreadSafetyError",
    "ToolError",
    "__version__",
    "context",
    "require_thread_safe",
    "thread_safe_method",
    "tool",
]


def __getattr__(name: str) -> object:
    # Loaded when first asked for: most adapters need none of it.
    if name in ("HostTool", "ToolError"):
        from snakepit import _host_tool

        return getattr(_host_tool, name)
    if name in __all__:
        from snakepit import _threadsafe

        return getattr(_threadsafe, name)
    raise AttributeError(f"module `snakepit` has no attribute `{name}`")
