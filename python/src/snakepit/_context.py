"""The running call, as its tool sees it.

Owns the context variable that holds it. Outside a call everything has a neutral value, so a tool
can be called like any function.
"""

from __future__ import annotations

from contextvars import ContextVar

from snakepit._native import Cancelled, CurrentCall, empty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snakepit._host_tool import HostTool

current: ContextVar[CurrentCall | None] = ContextVar("snakepit_call", default=None)


class CallContext:
    """What a tool can know about the call it is running for."""

    __slots__ = ()

    @property
    def call_id(self) -> int:
        """Number of the call, unique in this worker; 0 outside a call."""
        call = current.get()
        return 0 if call is None else call.call_id

    @property
    def command(self) -> str:
        """Name under which the tool was called."""
        call = current.get()
        return "" if call is None else call.command

    @property
    def session_id(self) -> str | None:
        """Session the call belongs to."""
        call = current.get()
        return None if call is None else call.session_id

    @property
    def session(self) -> dict[str, Any]:
        """What tools keep for the session in this worker; the same dict for all its calls.

        It ends with the session, and with the worker; calls of the session that run elsewhere do
        not see it. In a call without a session it ends with the call. Where a worker runs several
        calls at a time, those of one session share it.
        """
        call = current.get()
        return {} if call is None else call.session

    @property
    def metadata(self) -> dict[str, str]:
        """Key-value pairs the caller sent along; a copy."""
        call = current.get()
        return {} if call is None else call.metadata

    @property
    def traceparent(self) -> str | None:
        """W3C trace context of the caller."""
        call = current.get()
        return None if call is None else call.traceparent

    @property
    def deadline(self) -> float | None:
        """When the call must be done, in seconds of `time.monotonic()`."""
        call = current.get()
        return None if call is None else call.deadline

    @property
    def remaining(self) -> float | None:
        """Seconds left until the deadline, never negative."""
        call = current.get()
        return None if call is None else call.remaining

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the result any more, or the deadline has passed."""
        call = current.get()
        return call is not None and call.cancelled

    def check_cancelled(self) -> None:
        """Stops the tool if nobody waits for its result any more.

        Raises:
            Cancelled: If so. It is no `Exception`, so `except Exception` lets it through.
        """
        call = current.get()
        if call is not None and call.cancelled:
            raise Cancelled("the deadline passed" if call.timed_out else "the call was cancelled")

    def progress(self, done: float, total: float = 0, message: str = "") -> None:
        """Tells the caller how far the tool has come.

        Reports are cheap, and those that follow each other faster than they can leave replace
        each other.

        Args:
            done: Units done.
            total: Units in all; 0 if not known.
            message: What is being done.
        """
        call = current.get()
        if call is not None:
            call.progress(done, total, message)

    def empty(self, shape: int | tuple[int, ...], dtype: Any = "float64") -> Any:
        """Makes a numpy array to fill and return, whose elements have yet to be written.

        A large one lies in memory that is shared with the host, where there is some: returned, or
        put into what is returned, it crosses without a copy. It can do so once, and is read-only
        from then on, because the host reads it now; keep no other views that write to it. Without a
        host, or without shared memory, it is an ordinary array.

        Args:
            shape: Length of each side.
            dtype: Element type, as `numpy.empty` takes it.

        Returns:
            The array, in C order.

        Raises:
            ImportError: If there is no numpy.
        """
        call = current.get()
        return empty(shape, dtype) if call is None else call.empty(shape, dtype)

    @property
    def depth(self) -> int:
        """How many tool calls deep the call is nested; 0 for one from outside."""
        call = current.get()
        return 0 if call is None else call.depth

    @property
    def tools(self) -> dict[str, HostTool]:
        """What the host lets this call's tool call, by name; a copy."""
        call = current.get()
        if call is None:
            return {}
        from snakepit._host_tool import offered

        return offered(call)

    def call_tool(self, name: str, /, **arguments: Any) -> Any:
        """Calls a tool of the host and waits for its result.

        The wait holds this call's slot and nothing else, not even the GIL. It has the call's
        deadline, and ends when the call is cancelled. Coroutines await `call_tool_async` instead.

        Args:
            name: Name of the tool; `tools` has them all.
            **arguments: Its arguments.

        Returns:
            What the tool has returned.

        Raises:
            ToolError: If the tool fails, there is none of that name, or the arguments do not fit.
            Cancelled: If the call is cancelled meanwhile, or its deadline passes.
            EncodeError: If an argument has no encoded form.
            RuntimeError: Outside a call, after it has ended, and on the event loop that the calls
                of a worker share.
        """
        call = _required(current.get())
        on_tool = call.on_tool
        if on_tool is not None:
            return on_tool(name, arguments)
        from snakepit._host_tool import refuse_shared_loop

        refuse_shared_loop()
        return call.call_tool(name, arguments)

    async def call_tool_async(self, name: str, /, **arguments: Any) -> Any:
        """Calls a tool of the host, for coroutines; several calls may wait side by side.

        Cancelling the task that waits, with `asyncio.timeout` for instance, cancels the tool.

        Args:
            name: Name of the tool; `tools` has them all.
            **arguments: Its arguments.

        Returns:
            What the tool has returned.

        Raises:
            ToolError: If the tool fails, there is none of that name, or the arguments do not fit.
            Cancelled: If the call is cancelled meanwhile.
            EncodeError: If an argument has no encoded form.
            RuntimeError: Outside a call, and after it has ended.
        """
        call = _required(current.get())
        on_tool = call.on_tool
        if on_tool is not None:
            return on_tool(name, arguments)
        from snakepit._host_tool import call_async

        return await call_async(call, name, arguments)

    def __repr__(self) -> str:
        call = current.get()
        if call is None:
            return "<snakepit.context: no call>"
        return f"<snakepit.context: call {call.call_id} of {call.command}>"


def _required(call: CurrentCall | None) -> CurrentCall:
    if call is None:
        raise RuntimeError("tools of the host can be called during a call only")
    return call


context = CallContext()
