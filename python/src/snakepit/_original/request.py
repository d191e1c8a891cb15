"""One call of an adapter that was written for the original.

Owns the order: the object is made, is told its session, initialises, executes the tool, and cleans
up, whatever happened. Each step may be a coroutine function. Invariant: `cleanup` runs once for
each object that was made, also when the call was cancelled or its stream left early.
"""

from __future__ import annotations

import sys
from contextvars import copy_context

from snakepit._context import current
from snakepit._original.session import SessionContext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context
    from typing import Any, Protocol

    from snakepit._native import CurrentCall, Tool
    from snakepit._original.adapter import Original

    class Runner(Protocol):
        """The event loop's runner."""

        def run(
            self, coroutine: Any, context: Context | None = None, call: CurrentCall | None = None
        ) -> Any: ...


_MISSING = object()
_ATOMS = (str, bytes, bytearray, memoryview, dict)


class Requests:
    """Makes a request of each call.

    Args:
        original: The adapter.
        arguments: What its objects are made with.
        runner: Returns the event loop's runner.
        several: Whether several calls run at a time.
    """

    def __init__(
        self,
        original: Original,
        arguments: dict[str, Any],
        runner: Callable[[], Runner],
        *,
        several: bool = False,
    ) -> None:
        self.original = original
        self.runner = runner
        self._arguments = arguments
        self.shared: Any = None if original.per_call else self.make()
        # An object of several calls is told once, of a context that follows the running call: what
        # it copied from one call's would be seen by the others.
        self.tells_session = self.shared is None or not several
        if not self.tells_session:
            told = getattr(self.shared, "set_session_context", None)
            if callable(told):
                told(SessionContext())

    def make(self) -> Any:
        """Makes an object of the adapter."""
        return self.original.cls(**self._arguments)

    def tools(self) -> list[Tool]:
        """Returns the adapter's tools."""
        return self.original.tools(self._function_of)

    def _function_of(self, method: str | None) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            return Request(self, method).run(args, kwargs)

        return call


class Request:
    """One call."""

    def __init__(self, requests: Requests, method: str | None) -> None:
        self._requests = requests
        self._method = method
        self._call = current.get()
        self._adapter: Any = None

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Runs it.

        Returns:
            Its result; where the call asks for a stream, an iterator of either sort.
        """
        streams = self._call is not None and self._call.streaming
        handed_over = False
        try:
            self._begin()
            result = self.finish(self._execute(args, kwargs))
            if streams:
                kind = AsyncStream if hasattr(result, "__anext__") else Stream
                stream = kind(self, result)
                handed_over = True
                return stream
            if hasattr(result, "__anext__"):
                self.finish(result.aclose(), tied=False)
            elif hasattr(result, "__next__") and hasattr(result, "close"):
                result.close()
            # A generator goes back as it is, for the caller to be told.
            return result
        finally:
            if not handed_over:
                self.end()

    def end(self) -> None:
        """Has the adapter clean up."""
        try:
            self.finish(self._cleaned_up(), tied=False)
        except Exception:
            _report()

    async def end_async(self) -> None:
        """Has the adapter clean up, from within the event loop."""
        try:
            result = self._cleaned_up()
            if hasattr(result, "__await__"):
                await result
        except Exception:
            _report()

    def finish(self, result: Any, *, tied: bool = True) -> Any:
        """Waits for what a coroutine function has returned; anything else is done already.

        Args:
            result: What it returned.
            tied: Whether the call's cancellation cancels it.
        """
        if not hasattr(result, "__await__"):
            return result
        # What it sets is seen by the next step, as if it had been awaited in the same place.
        context = copy_context()
        runner = self._requests.runner()
        try:
            return runner.run(_await(result), context, self._call if tied else None)
        finally:
            for variable, value in context.items():
                if variable.get(_MISSING) is not value:
                    variable.set(value)

    def _begin(self) -> None:
        requests = self._requests
        shared = requests.shared
        self._adapter = requests.make() if shared is None else shared
        if requests.tells_session:
            self._run_hook("set_session_context", SessionContext.of(self._call))
        self._run_hook("initialize")

    def _run_hook(self, name: str, *arguments: object) -> None:
        function = getattr(self._adapter, name, None)
        if callable(function):
            self.finish(function(*arguments))

    def _execute(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._method is not None:
            return getattr(self._adapter, self._method)(*args, **kwargs)
        call = self._call
        command = "" if call is None else call.command
        context = SessionContext.of(call)
        return self._requests.original.execute(self._adapter, command, kwargs, context)

    def _cleaned_up(self) -> Any:
        adapter, self._adapter = self._adapter, None
        cleanup = getattr(adapter, "cleanup", None)
        return cleanup() if callable(cleanup) else None


class Stream:
    """The items of a tool's result, one by one.

    Of a generator these are what it yields, of a list its items, of anything else itself.
    """

    def __init__(self, request: Request, result: Any) -> None:
        self._request: Request | None = request
        items: Any = result if _has_items(result) else (result,)
        self._items: Any = iter(items)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        try:
            return data_of(next(self._items))
        except BaseException:
            # At the end, too.
            self.close()
            raise

    def close(self) -> None:
        """Ends the request, if it has not ended."""
        request, self._request = self._request, None
        if request is None:
            return
        try:
            close = getattr(self._items, "close", None)
            if callable(close):
                close()
        finally:
            request.end()


class AsyncStream:
    """The items of an asynchronous generator."""

    def __init__(self, request: Request, generator: Any) -> None:
        self._request: Request | None = request
        self._generator = generator

    def __aiter__(self) -> AsyncStream:
        return self

    async def __anext__(self) -> Any:
        return data_of(await self._generator.__anext__())

    async def aclose(self) -> None:
        """Ends the request, if it has not ended."""
        request, self._request = self._request, None
        if request is None:
            return
        try:
            await self._generator.aclose()
        finally:
            await request.end_async()


def _has_items(result: object) -> bool:
    return hasattr(result, "__iter__") and not isinstance(result, _ATOMS)


def data_of(item: Any) -> Any:
    """Takes an item out of its `StreamChunk`, whichever class of that name it is of."""
    if hasattr(item, "is_final") and hasattr(item, "data"):
        return item.data
    return item


def _report() -> None:
    # What a caller gets is settled by then.
    sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]


async def _await(awaitable: Any) -> Any:
    return await awaitable
