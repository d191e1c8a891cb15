"""The showcase adapter: one tool for each thing an adapter can do.

Run it as `--adapter snakepit.showcase`, and read it as an example.
"""

import builtins
import os
import time
from collections.abc import AsyncIterator, Iterator

from snakepit import context, tool
from snakepit._showcase_originals import OriginalTools

# Long enough for a cancelled call to end soon, short enough to cost nothing.
_NAP_SECONDS = 0.05


class Showcase(OriginalTools):
    """Shows plain, streaming and coroutine tools, progress, cancellation, errors, host tools.

    All of it may run in several threads: what tools change is guarded by a lock. The tools of the
    original's showcase are there too, inherited.
    """

    def __init__(self) -> None:
        super().__init__()
        self._ready_at = 0.0

    def setup(self) -> None:
        """Notes when this worker became ready."""
        self._ready_at = time.monotonic()

    def health(self) -> dict[str, float]:
        """Says how long this worker has been ready."""
        return {"uptime_seconds": time.monotonic() - self._ready_at}

    @tool
    def ping(self, message: str = "pong") -> dict[str, str | int | float]:
        """Says that the worker is there.

        Args:
            message: Comes back.
        """
        return {
            "status": "pong",
            "message": message,
            "pid": os.getpid(),
            "uptime_seconds": time.monotonic() - self._ready_at,
        }

    @tool
    def echo(self, value: object = None, **others: object) -> object:
        """Gives back what it was given.

        Args:
            value: Anything.
            **others: Under any other names: they come back in a map, as `echoed`, which is how the
                original's showcase gives back all.
        """
        return {"echoed": others} if others and value is None else value

    @tool
    def add(self, a: float, b: float) -> float:
        """Adds two numbers; whole ones stay whole.

        Args:
            a: The first number.
            b: The second number.
        """
        return a + b

    @tool
    def counter(self, amount: int = 1) -> int:
        """Counts in the session the call belongs to, or for all that have none.

        Args:
            amount: By how much.

        Returns:
            The count so far, in this worker.
        """
        return self.count(amount)

    @tool
    def sleep(self, seconds: float) -> float:
        """Waits, but not longer than anybody waits for it.

        Args:
            seconds: How long.

        Returns:
            How long it really was.
        """
        start = time.monotonic()
        while (left := start + seconds - time.monotonic()) > 0:
            context.check_cancelled()
            time.sleep(min(left, _NAP_SECONDS))
        return time.monotonic() - start

    @tool
    async def async_sleep(self, seconds: float) -> float:
        """Waits without holding a thread.

        Args:
            seconds: How long.
        """
        # Here, because a worker that never awaits need not load the event loop.
        import asyncio

        start = time.monotonic()
        await asyncio.sleep(seconds)
        return time.monotonic() - start

    @tool
    def error(self, kind: str = "ValueError", message: str = "as you wished") -> None:
        """Raises an exception, with another one as its cause.

        Args:
            kind: Name of a builtin exception; any other name becomes a RuntimeError.
            message: What it says.
        """
        known = {
            name: found
            for name, found in vars(builtins).items()
            if isinstance(found, type) and issubclass(found, Exception)
        }
        try:
            raise LookupError(f"no luck with {kind}")
        except LookupError as cause:
            error = known.get(kind, RuntimeError)(message)
            error.add_note("raised by the showcase adapter")
            raise error from cause

    @tool
    def cpu_bound(self, n: int = 100_000) -> int:
        """Counts the primes below a number, in pure Python.

        Args:
            n: The number; time grows with it.
        """
        if n < 3:
            return 0
        sieve = bytearray([1]) * n
        sieve[:2] = b"\0\0"
        for candidate in range(2, int(n**0.5) + 1):
            if sieve[candidate]:
                sieve[candidate * candidate :: candidate] = bytes(
                    len(range(candidate * candidate, n, candidate))
                )
        return sum(sieve)

    @tool
    def stream(self, count: int = 10, delay_seconds: float = 0.0) -> Iterator[dict[str, int]]:
        """Yields numbered items and reports its progress.

        Args:
            count: How many.
            delay_seconds: Time between two of them.
        """
        for index in range(count):
            if delay_seconds > 0:
                time.sleep(delay_seconds)
            context.progress(index + 1, count)
            yield {"index": index, "square": index * index}

    @tool
    async def async_stream(
        self, count: int = 10, delay_seconds: float = 0.0
    ) -> AsyncIterator[dict[str, int]]:
        """Yields numbered items from a coroutine.

        Args:
            count: How many.
            delay_seconds: Time between two of them.
        """
        import asyncio

        for index in range(count):
            await asyncio.sleep(delay_seconds)
            yield {"index": index, "square": index * index}

    @tool
    def ask_host(self, name: str, arguments: dict[str, object] | None = None) -> object:
        """Calls a tool of the host, and gives back what that returns.

        Args:
            name: Name of the host's tool.
            arguments: Its arguments by name.
        """
        return context.call_tool(name, **(arguments or {}))

    @tool
    async def async_ask_host(self, name: str, arguments: dict[str, object] | None = None) -> object:
        """Does the same without holding a thread.

        Args:
            name: Name of the host's tool.
            arguments: Its arguments by name.
        """
        return await context.call_tool_async(name, **(arguments or {}))

    @tool
    def host_tools(self) -> dict[str, str]:
        """Lists what the host lets tools call, with what is said about each."""
        return {name: tool.description for name, tool in context.tools.items()}

    @tool
    def slow_steps(self, steps: int = 5, step_seconds: float = 0.2) -> dict[str, int]:
        """Does nothing in steps, says how far it is, and stops when nobody waits.

        Args:
            steps: How many.
            step_seconds: How long each takes.
        """
        for step in range(steps):
            context.check_cancelled()
            context.progress(step, steps, f"step {step + 1} of {steps}")
            time.sleep(step_seconds)
        return {"steps": steps}
