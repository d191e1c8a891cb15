"""Tools that show what a setting has changed."""

import os
import sys
import time
from collections.abc import Iterator

from snakepit import context, tool

__thread_safe__ = True


@tool
def remaining() -> float | None:
    """Says how many seconds the call has left."""
    return context.remaining


@tool
def items(ledger: str, to: int) -> Iterator[int]:
    """Counts, and writes each number down before it is handed over."""
    for number in range(to):
        with open(ledger, "ab", buffering=0) as file:
            file.write(b".")
        yield number


@tool
def silent() -> Iterator[int]:
    """Yields once, and then nothing for as long as it is let."""
    yield 1
    while not context.cancelled:
        time.sleep(0.01)


@tool
def deaf(seconds: float) -> None:
    """Hears of no cancellation, and says that it has begun."""
    context.progress(0)
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(min(left, 0.05))


@tool
def mutter(out: list[str], err: list[str]) -> None:
    """Writes lines on standard output and standard error."""
    for line in out:
        print(line, flush=True)
    for line in err:
        print(line, file=sys.stderr, flush=True)


@tool
def give_up(last: str) -> None:
    """Ends its worker with a word on standard error."""
    print(last, file=sys.stderr, flush=True)
    os._exit(3)
