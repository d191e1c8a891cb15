"""Tools that fail in ways that layers round a pool do something about.

Files count what happened, because the processes that could remember do not live that long.
"""

import ctypes
import os
import signal
import threading
import time
from collections.abc import Iterator

from snakepit import context, tool


def _attempt(path: str) -> int:
    """Notes an attempt; says how many there were, this one included."""
    with open(path, "ab") as file:
        file.write(b".")
    return os.path.getsize(path)


@tool
def flaky(path: str, succeeds_at: int) -> int:
    """Raises until it has been tried often enough."""
    attempt = _attempt(path)
    if attempt < succeeds_at:
        raise ConnectionResetError(f"attempt {attempt}")
    return attempt


@tool
def flaky_count(path: str, succeeds_at: int, chunks: int) -> Iterator[int]:
    """Yields, and raises in front of these chunks until it has been tried often enough."""
    attempt = _attempt(path)
    yield from range(chunks)
    if attempt < succeeds_at:
        raise ConnectionResetError(f"attempt {attempt}")
    yield attempt


@tool
def crash(path: str, times: int, sig: str = "") -> int:
    """Crashes its process, as native code does or by this signal, so many times."""
    if _attempt(path) <= times:
        if sig:
            os.kill(os.getpid(), signal.Signals[sig])
            threading.Event().wait()
        ctypes.string_at(0)
    return os.getpid()


@tool
def depends(path: str) -> str:
    """Fails while a file is there."""
    if os.path.exists(path):
        raise RuntimeError("what it depends on is broken")
    return "well"


@tool
def slow_at_first(path: str) -> int:
    """Takes for ever at the first attempt, until nobody waits for it."""
    attempt = _attempt(path)
    while attempt == 1:
        context.check_cancelled()
        time.sleep(0.01)
    return attempt


@tool
def hold(path: str) -> None:
    """Runs until a file is there."""
    while not os.path.exists(path):
        context.check_cancelled()
        time.sleep(0.005)


@tool
def who() -> str:
    """Says which pool it serves."""
    return os.environ.get("SNAKEPIT_TEST_VALUE", "")
