"""The event loop of a worker that runs several calls at a time.

Owns one loop for the life of the worker, on a thread of its own; coroutine tools of all slots run
on it side by side. A call holds its slot, and the thread of that slot waits, until its coroutine is
done: the number of slots bounds both kinds of tools alike.
"""

from __future__ import annotations

import asyncio
from _thread import allocate_lock, get_ident
from threading import Thread

from snakepit._loop import end_with, send_all
from snakepit._native import Cancelled

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextvars import Context
    from typing import Any

    from snakepit._loop import Sink
    from snakepit._native import CurrentCall, Link


class _Own:
    """The threads that run such loops; in a worker there is one."""

    def __init__(self) -> None:
        self.threads: set[int] = set()


_own = _Own()


def is_own_thread() -> bool:
    """Whether this thread runs the loop that all calls share."""
    return get_ident() in _own.threads


class LoopThread:
    """Runs coroutines to their end, as many at a time as there are callers."""

    def __init__(self, link: Link | None = None) -> None:
        self._loop = asyncio.new_event_loop()
        self._link = link
        self._news = asyncio.Event()
        # Those that a cancellation may reach. The loop's thread alone looks at it.
        self._running: dict[asyncio.Task[Any], CurrentCall] = {}
        self._closing = False
        if link is not None:
            self._loop.add_reader(link.wake_fd(), self._wake)
        self._thread = Thread(target=self._serve, name="snakepit-loop", daemon=True)
        self._thread.start()

    def run(
        self,
        coroutine: Coroutine[Any, Any, Any],
        context: Context | None = None,
        call: CurrentCall | None = None,
    ) -> Any:
        """Runs one coroutine and waits for it.

        Args:
            coroutine: The coroutine.
            context: The context variables it sees.
            call: The call it belongs to; its cancellation or deadline cancels the task.

        Returns:
            Its result.

        Raises:
            Cancelled: If the call was cancelled, and the coroutine let itself be.
        """
        run = _Run()
        self._loop.call_soon_threadsafe(self._begin, run, coroutine, context, call)
        try:
            task = run.wait()
        except BaseException:
            # A signal handler raised; the coroutine still gets its finally.
            self._loop.call_soon_threadsafe(run.cancel)
            raise
        try:
            return task.result()
        except asyncio.CancelledError:
            if call is not None and call.cancelled:
                raise Cancelled("the call was cancelled") from None
            raise

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
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._closing = True
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _serve(self) -> None:
        _own.threads.add(get_ident())
        asyncio.set_event_loop(self._loop)
        while not self._closing:
            try:
                self._loop.run_forever()
            except (KeyboardInterrupt, SystemExit):
                # A coroutine raised it. Its caller is told; the others need the loop.
                continue

    def _begin(
        self,
        run: _Run,
        coroutine: Coroutine[Any, Any, Any],
        context: Context | None,
        call: CurrentCall | None,
    ) -> None:
        task = self._loop.create_task(coroutine, context=context)
        run.task = task
        timer = None
        if call is not None:
            self._running[task] = call
            timer = end_with(call, task)

        def end(task: asyncio.Task[Any]) -> None:
            self._running.pop(task, None)
            if timer is not None:
                timer.cancel()
            run.done.release()

        task.add_done_callback(end)

    async def _end(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        await self._loop.shutdown_asyncgens()

    def _wake(self) -> None:
        if self._link is not None:
            self._link.drain_wake()
        self._news.set()
        for task, call in self._running.items():
            if call.cancelled:
                task.cancel()


class _Run:
    """One coroutine, between the thread that waits for it and the loop."""

    def __init__(self) -> None:
        self.task: asyncio.Task[Any] | None = None
        self.done = allocate_lock()
        self.done.acquire()

    def wait(self) -> asyncio.Task[Any]:
        self.done.acquire()
        task = self.task
        if task is None:
            raise RuntimeError("the event loop has lost a coroutine")
        return task

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()
