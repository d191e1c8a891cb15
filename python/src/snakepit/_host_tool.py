"""Tools of the host, as tools of the adapter call them.

Owns the exception they fail with, what is known about them, and the wait of coroutines for their
answers; threads wait in the native half.
"""

from __future__ import annotations

from snakepit._native import HostError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Mapping
    from typing import Any

    from snakepit._native import CurrentCall, ToolFuture


class ToolError(HostError):
    """A tool of the host has failed, or could not be called.

    Left to itself it ends the call, and its caller gets the host's own error as the cause.

    Attributes:
        tool: Name of the tool.
        kind: Name of the kind of failure, such as `tool_not_found`, `invalid_arguments` or what the
            tool itself has chosen.
        message: What has happened, in one sentence.
        details: Particulars by name, such as `parameter`.
        help: What to do about it; may be empty.
        category: The part of the system it belongs to, such as `resource`.
        severity: How grave it is: `critical`, `major`, `minor` or `warning`.
        retry: Whether to try again, such as `immediate`, `backoff` or `abandon`.
    """

    def __init__(
        self,
        message: str,
        *,
        tool: str = "",
        kind: str = "tool_failed",
        details: Mapping[str, str] | None = None,
        help: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.tool = tool
        self.kind = kind
        self.details: dict[str, str] = dict(details or {})
        self.help = help
        self.category = "system"
        self.severity = "major"
        self.retry = "abandon"

    def __str__(self) -> str:
        text = f"`{self.tool}`: {self.message}" if self.tool else self.message
        return f"{text}; {self.help}" if self.help else text


class HostTool:
    """What the host says about one of its tools.

    Attributes:
        name: The name it is called by.
        description: What it does; may be empty.
    """

    __slots__ = ("_parameters", "_returns", "description", "name")

    def __init__(self, name: str, description: str, parameters: str, returns: str) -> None:
        self.name = name
        self.description = description
        self._parameters = parameters
        self._returns = returns

    @property
    def parameters(self) -> dict[str, Any]:
        """JSON Schema of the arguments: an object with a property for each."""
        return _schema(self._parameters)

    @property
    def returns(self) -> dict[str, Any] | None:
        """JSON Schema of the result; `None` if not known."""
        return _schema(self._returns) if self._returns else None

    def __repr__(self) -> str:
        return f"<HostTool {self.name}>"


def _schema(text: str) -> dict[str, Any]:
    from snakepit._native import from_json

    schema: dict[str, Any] = from_json(text)
    return schema


def offered(call: CurrentCall) -> dict[str, HostTool]:
    """What can be called during a call, by name."""
    return {name: HostTool(name, *rest) for name, *rest in call.tools}


def refuse_shared_loop() -> None:
    """Refuses to hold up the event loop that the calls of a worker share.

    Raises:
        RuntimeError: If this thread runs it.
    """
    import sys

    module = sys.modules.get("snakepit._loop_thread")
    if module is not None and module.is_own_thread():
        raise RuntimeError(
            "`call_tool` would hold up the coroutines of all calls: await `call_tool_async`"
        )


async def call_async(call: CurrentCall, name: str, arguments: dict[str, Any]) -> Any:
    """Calls a tool of the host and waits without holding a thread."""
    import asyncio

    loop = asyncio.get_running_loop()
    waits = _waits_of(loop)
    answer = call.start_tool(name, arguments, waits.wake)
    try:
        if not answer.done:
            await waits.until_done(answer, loop)
        return answer.result()
    finally:
        # Without effect when the answer was taken.
        answer.cancel()


class _Waits:
    """The tool calls that coroutines of one event loop wait for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        from snakepit._native import LoopWake

        self.wake = LoopWake()
        self._open: dict[ToolFuture, asyncio.Future[None]] = {}
        # The loop keeps this alive, and with it the descriptor, for as long as it watches it.
        loop.add_reader(self.wake.fd(), self._look)

    async def until_done(self, answer: ToolFuture, loop: asyncio.AbstractEventLoop) -> None:
        done = loop.create_future()
        self._open[answer] = done
        try:
            await done
        finally:
            del self._open[answer]

    def _look(self) -> None:
        self.wake.drain()
        for answer, done in self._open.items():
            if answer.done and not done.done():
                done.set_result(None)


def _waits_of(loop: asyncio.AbstractEventLoop) -> _Waits:
    # As an attribute of its loop: it ends with it, and no other thread looks at it.
    waits: _Waits | None = getattr(loop, "_snakepit_waits", None)
    if waits is None:
        waits = _Waits(loop)
        loop._snakepit_waits = waits  # type: ignore[attr-defined]
    return waits
