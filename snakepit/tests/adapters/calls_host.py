"""Tools that call tools of the host, as threads and as coroutines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator

import snakepit
from snakepit import ThreadSafeAdapter, context, thread_safe_method, tool


class CallsHost(ThreadSafeAdapter):
    @tool
    @thread_safe_method
    def call(self, name: str, arguments: dict[str, object] | None = None) -> object:
        return context.call_tool(name, **(arguments or {}))

    @tool
    @thread_safe_method
    async def call_async(self, name: str, arguments: dict[str, object] | None = None) -> object:
        return await context.call_tool_async(name, **(arguments or {}))

    @tool
    @thread_safe_method
    async def gather(self, name: str, count: int) -> list[object]:
        calls = (context.call_tool_async(name, n=n) for n in range(count))
        return list(await asyncio.gather(*calls))

    @tool
    @thread_safe_method
    def stream(self, name: str, count: int) -> Iterator[object]:
        for n in range(count):
            yield context.call_tool(name, n=n)

    @tool
    @thread_safe_method
    def caught(self, name: str, arguments: dict[str, object] | None = None) -> list[object]:
        try:
            context.call_tool(name, **(arguments or {}))
        except snakepit.ToolError as error:
            notes = getattr(error, "__notes__", [])
            return [error.kind, error.message, error.details, error.help, notes]
        return ["nothing"]

    @tool
    @thread_safe_method
    def wrapped(self, name: str) -> None:
        try:
            context.call_tool(name)
        except snakepit.ToolError as error:
            raise ValueError("could not look it up") from error

    @tool
    @thread_safe_method
    async def grouped(self, name: str) -> None:
        try:
            await context.call_tool_async(name)
        except snakepit.ToolError as error:
            raise ExceptionGroup("several", [KeyError("other"), error]) from None

    @tool
    @thread_safe_method
    async def give_up(self, name: str) -> str:
        """Waits for a tool for a moment only."""
        try:
            await asyncio.wait_for(context.call_tool_async(name), 0.01)
        except TimeoutError:
            return "gave up"
        return "has it"

    @tool
    @thread_safe_method
    def listed(self) -> dict[str, object]:
        return {
            name: [found.description, found.parameters, found.returns]
            for name, found in context.tools.items()
        }

    @tool
    @thread_safe_method
    def who(self) -> dict[str, object]:
        return {
            "session": context.session_id,
            "trace": context.traceparent,
            "metadata": context.metadata,
            "depth": context.depth,
            "remaining": context.remaining,
        }

    @tool
    @thread_safe_method
    async def block_the_loop(self, name: str) -> object:
        return context.call_tool(name)

    @tool
    @thread_safe_method
    def from_helper_thread(self, name: str) -> object:
        import contextvars

        results: list[object] = []
        run = contextvars.copy_context().run
        thread = threading.Thread(
            target=run, args=(lambda: results.append(context.call_tool(name, n=1)),)
        )
        thread.start()
        thread.join()
        return results[0]

    @tool
    @thread_safe_method
    def leave_behind(self, name: str) -> None:
        """Leaves a thread that waits for a tool of a call that has ended."""
        import contextvars

        run = contextvars.copy_context().run
        started = threading.Event()

        def work() -> None:
            started.set()
            try:
                context.call_tool(name)
            except BaseException as error:
                CallsHost.left = type(error).__name__

        CallsHost.left = ""
        threading.Thread(target=run, args=(work,), daemon=True).start()
        started.wait()

    left: str = ""

    @tool
    @thread_safe_method
    def what_was_left(self) -> str:
        while not CallsHost.left:
            context.check_cancelled()
            time.sleep(0.002)
        return CallsHost.left

    @tool
    @thread_safe_method
    def round_trips(self, name: str, count: int) -> float:
        """The median time of a tool call, in seconds."""
        times = []
        for n in range(count):
            start = time.perf_counter()
            context.call_tool(name, n=n)
            times.append(time.perf_counter() - start)
        return sorted(times)[count // 2]
