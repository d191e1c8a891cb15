"""An adapter that cannot be without the extension."""

import needs_gil
from snakepit import tool

__thread_safe__ = True


@tool
def name() -> str:
    """The extension's name."""
    return needs_gil.__name__
