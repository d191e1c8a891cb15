"""Python workers for Rust services: what an adapter needs.

An adapter is a module or a class whose functions are marked with `tool`:

    import snakepit

    @snakepit.tool
    def greet(name: str, excited: bool = False) -> str:
        return f"Hello, {name}{'!' if excited else '.'}"

While a tool runs, `context` tells it about its call: the time left, whether anybody still waits,
where to report progress.
"""

from snakepit._adapter import Adapter
from snakepit._context import context
from snakepit._native import (
    ArgumentsError,
    Cancelled,
    DecodeError,
    EncodeError,
    Marker,
    __version__,
)
from snakepit._tool import tool

__all__ = [
    "Adapter",
    "ArgumentsError",
    "Cancelled",
    "DecodeError",
    "EncodeError",
    "Marker",
    "__version__",
    "context",
    "tool",
]
