"""The event loop of coroutine tools, where one call runs at a time.

Owns one loop for the life of the worker. It runs only while a call runs; what a tool leaves
behind on it goes on during the next call. Cancellation and credit come from the native link through
a descriptor the loop watches.
"""

from __future__ import annotations

import asyncio

from snakepit._native import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextvars import Context
    from typing import Any, Protocol

    from snakepit._native import CurrentCall, Link

    class Sink(Protocol):
        """Takes the items of a stream; the native `ChunkSink` in a worker."""

        def put(self, item: Any) -> bool: ...
        def try_send(self) -> bool: ...


class Runner:
    """Runs coroutines to their end, one at a time."""

    def __init__(self, link: Link | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._link = link
        self._task: asyncio.Task[Any] | None = None
        self._call: CurrentCall | None = None
        # Set when credit has come, or anything else is worth a look.
        self._news = asyncio.Event()
        if link is not None:
            self._loop.add_reader(link.wake_fd(), self._wake)

    def run(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: Context | None = None,
        call: CurrentCall | None = None,
    ) -> Any:
        """Runs one coroutine.

        Args:
            coroutine: The coroutine.
            context: The context variables it sees.
            call: The call it belongs to; its cancellation or deadline cancels the task.

        Returns:
            Its result.

        Raises:
            Cancelled: If the call was cancelled, and the coroutine let itself be.
        """
        task = self._loop.create_task(coroutine, context=context)
        self._task, self._call = task, call
        timer = None if call is None else end_with(call, task)
        try:
            return self._loop.run_until_complete(task)
        except asyncio.CancelledError:
            if call is not None and call.cancelled:
                raise Cancelled("the call was cancelled") from None
            raise
        finally:
            self._task = self._call = None
            if timer is not None:
                timer.cancel()
            if not task.done():
                # A signal handler raised through the loop; the coroutine still gets its finally.
                task.cancel()
                self._loop.run_until_complete(asyncio.wait([task]))

    def stream(
        self,
        generator: AsyncGenerator[Any, None],
        context: Context | None,
        call: CurrentCall,
        sink: Sink,
    ) -> None:
        """Sends every item of an asynchronous generator, waiting for credit as needed."""
        self.run(send_all(generator, sink, self._news), context, call)

    def close(self) -> None:
        """Ends what tools have left behind."""
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    def _wake(self) -> None:
        if self._link is not None:
            self._link.drain_wake()
        self._news.set()
        if self._task is not None and self._call is not None and self._call.cancelled:
            self._task.cancel()


def end_with(call: CurrentCall, task: asyncio.Task[Any]) -> asyncio.TimerHandle | None:
    """Has a task be cancelled at its call's deadline, or at once if the call is cancelled already.

    Returns:
        What does so in time, for whoever sees the task end before.
    """
    if call.cancelled:
        task.cancel()
    elif (remaining := call.remaining) is not None:
        return task.get_loop().call_later(remaining, task.cancel)
    return None


async def send_all(generator: AsyncGenerator[Any, None], sink: Sink, news: asyncio.Event) -> None:
    """Sends every item of an asynchronous generator.

    Args:
        generator: The generator; it is closed in the end.
        sink: Where the items go.
        news: Set whenever credit may have come. Several streams may share one.
    """
    try:
        async for item in generator:
            if not sink.put(item):
                return
            while not sink.try_send():
                news.clear()
                # Credit may have come between the look and the clearing.
                if sink.try_send():
                    break
                await news.wait()
    finally:
        await generator.aclose()
