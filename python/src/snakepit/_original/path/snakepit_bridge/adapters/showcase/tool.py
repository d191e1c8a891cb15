"""Helpers that the original's showcase uses, and adapters that were written after it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...base_adapter import StreamChunk

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["StreamChunk", "Tool"]


class Tool:
    """A function with its name."""

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func
        self.name: str = getattr(func, "__name__", type(func).__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the function."""
        return self.func(*args, **kwargs)
