"""Finding an adapter's tools.

Owns which functions of a module and class are tools, and what is made of each. Calls none.
"""

from __future__ import annotations

from types import FunctionType, MethodType

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
    from collections.abc import Callable, Iterator
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
    return only_one(module, [cls for cls in classes_in(module) if marked_in(cls)])


def classes_in(module: ModuleType) -> list[type]:
    """Lists the classes that a module defines."""
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    # The same class under two names is one.
    return list(dict.fromkeys(cls for cls in classes if cls.__module__ == module.__name__))


def only_one(module: ModuleType, classes: list[type]) -> type | None:
    """Takes the adapter's class, if there is one.

    Raises:
        StartError: If there are several.
    """
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


class Tools:
    """The tools of an adapter.

    What takes time is done with the class, before there is an object: in a zygote it is done once.
    """

    def __init__(self) -> None:
        self._compiler = Compiler()
        self._names: set[str] = set()
        self._functions: list[Tool] = []
        self._methods: list[tuple[Marked, Tool | None]] = []

    def add_functions(self, module: ModuleType, marks: list[Marked]) -> None:
        """Makes tools of a module's functions.

        Raises:
            StartError: If a name is taken, or a signature cannot be read.
        """
        for mark in self._claimed(marks):
            function = getattr(module, mark.attribute)
            self._functions.append(make_tool(mark, function, self._compiler))

    def add_methods(self, cls: type, marks: list[Marked]) -> None:
        """Makes tools of a class's methods, to be bound later.

        Raises:
            StartError: If a name is taken, or a signature cannot be read.
        """
        for mark in self._claimed(marks):
            function = as_if_bound(cls, mark.attribute)
            tool = None if function is None else make_tool(mark, function, self._compiler)
            self._methods.append((mark, tool))

    def bound_to(self, adapter: object) -> list[Tool]:
        """Returns all tools, the methods bound to the adapter's object.

        Raises:
            StartError: If the signature of something only the object has cannot be read.
        """
        tools = self._functions.copy()
        for mark, tool in self._methods:
            tools.append(self._bind(adapter, mark, tool))
        return tools

    def _bind(self, adapter: object, mark: Marked, tool: Tool | None) -> Tool:
        function = getattr(adapter, mark.attribute)
        if tool is not None and _plain(function) is _plain(tool.function):
            return tool.bound_to(function)
        # The object has put something else in its place, or the class has no ordinary method.
        return make_tool(mark, function, self._compiler)

    def _claimed(self, marks: list[Marked]) -> Iterator[Marked]:
        """Gives the marks one by one, each with a name that no other tool has."""
        for mark in marks:
            if mark.name in self._names:
                raise StartError(
                    "discover",
                    f"two tools are named `{mark.name}`",
                    "give one of them another name with @tool(name=...)",
                )
            self._names.add(mark.name)
            yield mark


def as_if_bound(cls: type, attribute: str) -> Callable[..., Any] | None:
    """Returns what an object of the class would have, if that can be told from the class."""
    found = next(vars(base)[attribute] for base in cls.__mro__ if attribute in vars(base))
    if isinstance(found, FunctionType):
        return MethodType(found, cls)
    return getattr(cls, attribute) if isinstance(found, (staticmethod, classmethod)) else None


def _plain(function: object) -> object:
    return function.__func__ if isinstance(function, MethodType) else function


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
                    0 if parameter.hint is MISSING else compiler.parameter(parameter.hint),
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
