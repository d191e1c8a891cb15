"""Tools that the benchmarks call, and that the peers call as plain functions."""

import os
import time
from collections.abc import Iterator

try:
    from snakepit import context, tool
except ImportError:  # the peers' interpreter need not have the worker package

    def tool(function):
        return function


# They share nothing that changes.
__thread_safe__ = True


@tool
def small(n: int, text: str) -> dict:
    """A small call: about 13 µs of ordinary Python, a small dict back."""
    counts: dict[str, int] = {}
    for letter in text:
        counts[letter] = counts.get(letter, 0) + 1
    most = max(counts, key=counts.__getitem__)
    return {"n": n + 1, "length": len(text), "most": most, "upper": text.upper()}


@tool
def nap(ms: float) -> float:
    """Sleeps without holding the GIL."""
    time.sleep(ms / 1000)
    return ms


@tool
def pid() -> int:
    """Says which process answers, long enough that another one takes the next call."""
    time.sleep(0.005)
    return os.getpid()


@tool
def echo(data: bytes) -> bytes:
    """Gives its argument back."""
    return data


@tool
def count(n: int) -> Iterator[int]:
    """Streams so many numbers."""
    yield from range(n)


@tool
def round_trips(count: int) -> list[float]:
    """Calls a tool of the host so many times; gives the time of each in microseconds."""
    times: list[float] = []
    for key in range(count):
        start = time.perf_counter_ns()
        context.call_tool("lookup", key=key)
        times.append((time.perf_counter_ns() - start) / 1e3)
    return times


@tool
async def round_trips_async(count: int) -> list[float]:
    """The same from a coroutine."""
    times: list[float] = []
    for key in range(count):
        start = time.perf_counter_ns()
        await context.call_tool_async("lookup", key=key)
        times.append((time.perf_counter_ns() - start) / 1e3)
    return times
