"""The base class of the original's adapters, and the mark of their tools.

Owns what such adapters see of their own tools. How they are called is decided in `snakepit`, by the
marks alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from .session_context import SessionContext

__all__ = [
    "BaseAdapter",
    "ParameterSpec",
    "StreamChunk",
    "ToolMetadata",
    "ToolRegistration",
    "tool",
]


@dataclass
class ToolMetadata:
    """What was said in `@tool(...)`.

    Attributes:
        description: What the tool does.
        supports_streaming: Whether it usually yields a stream.
        parameters: Not used.
        required_variables: Variables it says it needs; nobody checks them.
    """

    description: str = ""
    supports_streaming: bool = False
    parameters: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    required_variables: list[str] = field(default_factory=list[str])


@dataclass
class ParameterSpec:
    """One parameter of a tool, as `get_tools` tells of it.

    Attributes:
        name: Its name.
        type: Its type hint's name in lower case; `any` without one.
        description: Empty.
        required: Whether it has no default.
        validation_json: JSON with its `default`, if it has one that has a JSON form.
    """

    name: str
    type: str = "any"
    description: str = ""
    required: bool = False
    validation_json: str = ""


@dataclass
class ToolRegistration:
    """One tool, as `get_tools` tells of it.

    Attributes:
        name: Its name.
        description: What it does.
        parameters: Its parameters, in order.
        supports_streaming: Whether it usually yields a stream.
        metadata: Where it is defined, and what it says it needs.
    """

    name: str
    description: str = ""
    parameters: list[ParameterSpec] = field(default_factory=list[ParameterSpec])
    supports_streaming: bool = False
    metadata: dict[str, str] = field(default_factory=dict[str, str])


class StreamChunk:
    """One item of a stream.

    Args:
        data: The item.
        is_final: Whether it is the last. The end of the generator is what ends the stream.
        metadata: Not sent.
    """

    def __init__(
        self, data: Any, is_final: bool = False, metadata: dict[str, Any] | None = None
    ) -> None:
        self.data = data
        self.is_final = is_final
        self.metadata = metadata

    def __repr__(self) -> str:
        return f"StreamChunk({self.data!r}, is_final={self.is_final})"


def tool(
    description: str | Callable[..., Any] = "",
    supports_streaming: bool = False,
    required_variables: list[str] | None = None,
) -> Any:
    """Marks a method as a tool.

    Args:
        description: What it does; its docstring by default. Or the method, where the decorator is
            used without arguments.
        supports_streaming: Whether it usually yields a stream.
        required_variables: Variables it says it needs.

    Returns:
        The decorator; or the method, if that was given.
    """
    if not isinstance(description, str):
        return tool()(description)

    def mark(function: Any) -> Any:
        function._tool_metadata = ToolMetadata(
            description or function.__doc__ or "",
            supports_streaming,
            required_variables=list(required_variables or ()),
        )
        return function

    return mark


class BaseAdapter:
    """Base class of adapters whose tools are methods marked with `tool`.

    An object is made for each call. It is told the session, initialises, runs one tool and cleans
    up; what is to outlive the call belongs into the module, or into the session.
    """

    session_context: SessionContext | None = None

    def __init__(self) -> None:
        self._tools_cache: list[ToolRegistration] | None = None

    def set_session_context(self, session_context: SessionContext) -> None:
        """Takes the context of the call that follows."""
        self.session_context = session_context

    def get_tools(self) -> list[ToolRegistration]:
        """Tells of the adapter's tools, in the order of their names."""
        cached = getattr(self, "_tools_cache", None)
        if cached is None:
            methods = ((name, getattr(self, name, None)) for name in dir(type(self)))
            found = [(name, method) for name, method in methods if hasattr(method, _MARK)]
            cached = [self._registration(name, method) for name, method in found]
            self._tools_cache = cached
        return cached

    def call_tool(self, tool_name: str, /, **kwargs: Any) -> Any:
        """Calls a method by name.

        Raises:
            AttributeError: If there is none.
            TypeError: If what has the name cannot be called.
        """
        method = getattr(self, tool_name, None)
        if method is None:
            raise AttributeError(f"`{type(self).__name__}` has no tool `{tool_name}`")
        if not callable(method):
            raise TypeError(f"`{tool_name}` of `{type(self).__name__}` is no tool")
        return method(**kwargs)

    def execute_tool(self, tool_name: str, arguments: dict[str, Any], context: Any) -> Any:  # noqa: ARG002
        """Executes a tool by name. One that a subclass defines is asked for every name."""
        return self.call_tool(tool_name, **arguments)

    execute_tool.__snakepit_default__ = True  # type: ignore[attr-defined]

    def register_with_session(self, session_id: str, stub: object = None) -> list[str]:  # noqa: ARG002
        """Returns the names of the tools; the host knows them since the worker started."""
        return [each.name for each in self.get_tools()]

    async def register_with_session_async(self, session_id: str, stub: object = None) -> list[str]:
        """The same for coroutines."""
        return self.register_with_session(session_id, stub)

    def _registration(self, name: str, method: Any) -> ToolRegistration:
        import inspect

        metadata: ToolMetadata = getattr(method, _MARK)
        where = {"adapter_class": type(self).__name__, "module": type(self).__module__}
        if metadata.required_variables:
            where["required_variables"] = ",".join(metadata.required_variables)
        return ToolRegistration(
            name,
            metadata.description,
            [_spec(parameter) for parameter in inspect.signature(method).parameters.values()],
            metadata.supports_streaming,
            where,
        )


_MARK = "_tool_metadata"


def _spec(parameter: Any) -> ParameterSpec:
    hint = parameter.annotation
    spec = ParameterSpec(parameter.name, required=parameter.default is parameter.empty)
    if hint is not parameter.empty:
        spec.type = getattr(hint, "__name__", str(hint)).lower()
    if not spec.required:
        import json

        try:
            spec.validation_json = json.dumps({"default": parameter.default})
        except (TypeError, ValueError):
            # It has no JSON form; that there is one is said by `required`.
            spec.validation_json = ""
    return spec
