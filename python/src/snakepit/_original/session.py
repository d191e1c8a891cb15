"""The session context that adapters of the original are given.

Owns the class; the session and the tools behind it are the host's.
"""

from __future__ import annotations

from snakepit._context import current

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NoReturn

    from snakepit._native import CurrentCall

_NO_SESSION = "default"
"""The id seen by calls without a session. In the original every call has one."""


class SessionContext:
    """What an adapter knows of the session and the call it runs for.

    Attributes:
        request_metadata: Key-value pairs from the caller.
    """

    def __init__(
        self,
        stub: object = None,
        session_id: str | None = None,
        request_metadata: dict[str, str] | None = None,
    ) -> None:
        # The stub is of use to nobody here; adapters' own tests pass one.
        self._stub = stub
        self._session_id = session_id
        self._metadata = request_metadata
        self._call: CurrentCall | None = None

    @classmethod
    def of(cls, call: CurrentCall | None) -> SessionContext:
        """Returns the context of one call, wherever it is asked."""
        context = cls()
        context._call = call
        return context

    @property
    def session_id(self) -> str:
        """The session's id; `default` for a call that belongs to none."""
        if self._session_id is not None:
            return self._session_id
        call = self._running()
        return (None if call is None else call.session_id) or _NO_SESSION

    @property
    def request_metadata(self) -> dict[str, str]:
        """Key-value pairs the caller sent along; a copy."""
        if self._metadata is not None:
            return dict(self._metadata)
        call = self._running()
        return {} if call is None else call.metadata

    @property
    def elixir_tools(self) -> dict[str, ElixirTool]:
        """The tools that the host offers, by name; each can be called with its arguments."""
        call = self._running()
        offered = () if call is None else call.tools
        return {name: ElixirTool(self, name, *rest) for name, *rest in offered}

    def call_elixir_tool(self, tool_name: str, /, *given: Mapping[str, Any], **kwargs: Any) -> Any:
        """Calls a tool of the host and waits for its result.

        Args:
            tool_name: Its name.
            *given: Its arguments as a map, where they are not given by name.
            **kwargs: Its arguments by name.

        Returns:
            What it returned.

        Raises:
            ValueError: If the host has no such tool.
            RuntimeError: If the tool failed, and outside of a call.
        """
        arguments = dict(kwargs)
        for each in given:
            arguments.update(each)
        call = self._running()
        if call is None:
            raise RuntimeError("tools of the host can be called during a call only")
        # Loaded by those that call tools.
        from snakepit._host_tool import ToolError, refuse_shared_loop

        try:
            # The test kit plays the host with a function.
            if call.on_tool is not None:
                return call.on_tool(tool_name, arguments)
            refuse_shared_loop()
            return call.call_tool(tool_name, arguments)
        except ToolError as error:
            # The kinds of exceptions that adapters of the original expect. Its cause is kept, by
            # which the host knows its own error again.
            if error.kind == "tool_not_found":
                raise ValueError(f"no tool `{tool_name}`: {error}") from error
            raise RuntimeError(f"tool `{tool_name}` failed: {error}") from error

    def cleanup(self) -> None:
        """Does nothing: the session is the host's, which ends it."""

    @property
    def stub(self) -> object:
        """What it was made with, for adapters' own tests."""
        if self._stub is None:
            _no_stub()
        return self._stub

    def _running(self) -> CurrentCall | None:
        # The one of an object that serves all calls follows whichever runs.
        return current.get() if self._call is None else self._call

    def __enter__(self) -> SessionContext:
        return self

    def __exit__(self, *_: object) -> None:
        self.cleanup()

    def __repr__(self) -> str:
        return f"SessionContext(session_id={self.session_id!r})"


class ElixirTool(dict[str, "Any"]):
    """What is known of one of the host's tools: `name`, `description` and `parameters`, its schema.

    Calling it calls the tool.
    """

    def __init__(
        self, context: SessionContext, name: str, description: str, parameters: str, *_: str
    ) -> None:
        from snakepit._native import from_json

        schema = from_json(parameters)
        super().__init__(name=name, description=description, parameters=schema)
        self._context = context
        self._name = name

    def __call__(self, **kwargs: Any) -> Any:
        """Calls the tool; see `SessionContext.call_elixir_tool`."""
        return self._context.call_elixir_tool(self._name, **kwargs)


def _no_stub() -> NoReturn:
    raise AttributeError(
        "there is no gRPC stub here: the host's tools are called with "
        "`context.call_elixir_tool(name, **arguments)`"
    )
