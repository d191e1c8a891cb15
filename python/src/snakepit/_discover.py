"""Finding an adapter's tools.

Owns which functions of a module and class are tools, and what is made of each. Calls none.
"""

from __future__ import annotations

from snakepit import _schema
from snakepit._convert import Compiler
from snakepit._docstring import Docstring
from snakepit._errors import StartError
from snakepit._hints import describe
from snakepit._native import Tool
from snakepit._signature import MISSING, hints_of, kind_of, parameters_of
from snakepit._tool import options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from snakepit._tool import ToolOptions


class Marked:
    """A function that is marked as a tool, before it belongs to an object."""

    __slots__ = ("attribute", "name", "options")

    def __init__(self, attribute: str, options: ToolOptions) -> None:
        self.attribute = attribute
        self.name = options.name or attribute
        self.options = options


def class_of(module: ModuleType) -> type | None:
    """Finds the one class with tools that a module defines.

    Raises:
        StartError: If there are several.
    """
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and value.__module__ == module.__name__ and marked_in(value)
    ]
    # The same class under two names is one.
    classes = list(dict.fromkeys(classes))
    if len(classes) > 1:
        names = ", ".join(cls.__name__ for cls in classes)
        raise StartError(
            "discover",
            f"module {module.__name__} has several classes with tools: {names}",
            f"say which one is meant, as `{module.__name__}:{classes[0].__name__}`",
        )
    return classes[0] if classes else None


def marked_in(cls: type) -> list[Marked]:
    """Lists the tools of a class in the order of their definition, inherited ones first."""
    attributes = dict.fromkeys(name for base in reversed(cls.__mro__) for name in vars(base))
    found = ((name, options_of(getattr(cls, name, None))) for name in attributes)
    return [Marked(name, options) for name, options in found if options is not None]


def marked_functions(module: ModuleType) -> list[Marked]:
    """Lists the tools among the functions that a module defines."""
    return [
        Marked(name, options)
        for name, value in vars(module).items()
        if not isinstance(value, type)
        and getattr(value, "__module__", None) == module.__name__
        and (options := options_of(value)) is not None
    ]


def tools_of(*groups: tuple[object, list[Marked]]) -> list[Tool]:
    """Makes the tools of objects: pairs of an object and what is marked in it.

    Raises:
        StartError: If there are none, two have the same name, or a signature cannot be read.
    """
    tools: dict[str, Tool] = {}
    compiler = Compiler()
    for owner, marks in groups:
        for mark in marks:
            if mark.name in tools:
                raise StartError(
                    "discover",
                    f"two tools are named `{mark.name}`",
                    "give one of them another name with @tool(name=...)",
                )
            function = getattr(owner, mark.attribute)
            tools[mark.name] = make_tool(mark, function, compiler)
    if not tools:
        raise StartError(
            "discover",
            "the adapter has no tools",
            "mark its functions or methods with @snakepit.tool",
        )
    return list(tools.values())


def make_tool(mark: Marked, function: Callable[..., Any], compiler: Compiler) -> Tool:
    """Makes the native tool of one function."""
    try:
        hints = hints_of(function)
        parameters = parameters_of(function, hints)
        kind = kind_of(function)
        docstring = Docstring(getattr(function, "__doc__", None))
        streaming = kind in ("generator", "async_generator")
        return Tool(
            mark.name,
            function,
            kind,
            [
                (
                    parameter.name,
                    parameter.kind,
                    parameter.required,
                    0 if parameter.hint is MISSING else compiler.check(parameter.hint),
                    "" if parameter.hint is MISSING else describe(parameter.hint),
                )
                for parameter in parameters
            ],
            description=mark.options.description or docstring.summary,
            parameters_schema=_schema.parameters_schema(parameters, docstring.arguments),
            returns_schema=_schema.returns_schema(
                hints.get("return", MISSING), streaming=streaming
            ),
        )
    except (NameError, TypeError, ValueError) as error:
        raise StartError(
            "discover",
            f"the signature of tool `{mark.name}` cannot be read: {error}",
            "its type hints must be importable where the function is defined",
        ) from error
