"""The `tool` decorator.

Owns the mark it leaves on a function and nothing else: a decorated function is still itself, and
can be called and tested as before.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])

MARK = "__snakepit_tool__"


class ToolOptions:
    """What was said in `@tool(...)`."""

    __slots__ = ("description", "name")

    def __init__(self, name: str | None, description: str | None) -> None:
        self.name = name
        self.description = description


if TYPE_CHECKING:

    @overload
    def tool(function: F, /) -> F: ...
    @overload
    def tool(*, name: str | None = None, description: str | None = None) -> Callable[[F], F]: ...


def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    description: str | None = None,
) -> Any:
    """Marks a function or method as a tool that can be called by name.

    Functions, coroutine functions, generators and asynchronous generators are all welcome; the
    latter two stream what they yield. The type hints decide which arguments are accepted and
    what the tool is given: a parameter hinted `datetime` gets a `datetime`.

    Args:
        function: The function, when the decorator is used without arguments.
        name: The name under which it is called; its own by default.
        description: What it does; the first paragraph of its docstring by default.

    Returns:
        The same function, or the decorator when there are arguments.
    """
    options = ToolOptions(name, description)

    def mark(function: Any) -> Any:
        # What a class or static method hands out is the function inside.
        setattr(getattr(function, "__func__", function), MARK, options)
        return function

    return mark if function is None else mark(function)


def options_of(function: object) -> ToolOptions | None:
    """Returns the mark `tool` has left, if there is one."""
    options = getattr(function, MARK, None)
    return options if isinstance(options, ToolOptions) else None
