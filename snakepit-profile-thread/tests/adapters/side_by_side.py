"""Tools that show whether calls run at the same time, and what they share."""

import asyncio
import contextvars
import importlib
import os
import re
import threading
import time
from collections.abc import AsyncIterator, Iterator

from snakepit import context, tool

__thread_safe__ = True

# Long enough for a slow machine: a barrier that is never full fails the test.
_PATIENCE_SECONDS = 30.0

_lock = threading.Lock()
_barriers: dict[str, threading.Barrier] = {}
_arrivals: dict[str, asyncio.Event] = {}
_mark: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="")


@tool
def meet(name: str, count: int) -> str:
    """Waits until so many calls are here at the same time; gives the thread it ran on."""
    with _lock:
        barrier = _barriers.setdefault(name, threading.Barrier(count))
    barrier.wait(_PATIENCE_SECONDS)
    return threading.current_thread().name


@tool
async def meet_on_the_loop(name: str, count: int) -> str:
    """The same for coroutines, which share one loop and need no lock."""
    event = _arrivals.setdefault(name, asyncio.Event())
    arrived: int = getattr(event, "count", 0) + 1
    event.count = arrived  # type: ignore[attr-defined]
    if arrived == count:
        event.set()
    async with asyncio.timeout(_PATIENCE_SECONDS):
        await event.wait()
    return threading.current_thread().name


@tool
async def wait_on_the_loop(path: str) -> None:
    """Waits until it is cancelled."""
    _show(path)
    await asyncio.Event().wait()


@tool
def mark(value: str) -> str:
    """Sets a context variable; gives what it was before."""
    before = _mark.get()
    _mark.set(value)
    return before


@tool
def who() -> int:
    """The number of this call, looked at twice with others in between."""
    first = context.call_id
    time.sleep(0.002)
    return first if context.call_id == first else 0


@tool
def pid() -> int:
    """The worker's process."""
    return os.getpid()


@tool
def variable(name: str) -> str | None:
    """An environment variable."""
    return os.environ.get(name)


@tool
def threads() -> list[str]:
    """The names of all threads that run Python."""
    return sorted(thread.name for thread in threading.enumerate())


@tool
def burn(rounds: int) -> int:
    """Computes in pure Python."""
    total = 0
    for i in range(rounds):
        total = (total * 31 + i) & 0xFFFF
    return total


@tool
def count(to: int) -> Iterator[int]:
    """Yields numbers."""
    yield from range(to)


@tool
async def count_on_the_loop(to: int) -> AsyncIterator[int]:
    """Yields numbers, letting others run in between."""
    for number in range(to):
        await asyncio.sleep(0)
        yield number


@tool
def until(path: str, gate: str) -> int:
    """Shows that it was entered, then waits until a file is there."""
    _show(path)
    while not os.path.exists(gate):
        time.sleep(0.01)
    return os.getpid()


@tool
def never(path: str) -> None:
    """Ignores that nobody waits for it."""
    _show(path)
    while True:
        time.sleep(3600)


@tool
def hold_gil(path: str) -> None:
    """Never returns, and never lets go of the GIL where there is one."""
    _show(path)
    # It backtracks through two to the power of sixty ways to match.
    re.match("(a+)+$", "a" * 60 + "b")


@tool
def load(module: str) -> str:
    """Imports a module."""
    return importlib.import_module(module).__name__


def _show(path: str) -> None:
    with open(path, "w", encoding="utf-8"):
        pass
