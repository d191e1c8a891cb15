"""Well-behaved tools."""

import os
import time
from collections.abc import Iterator

from snakepit import context, tool


@tool
def add(a: int, b: int = 1) -> int:
    """Adds two integers."""
    return a + b


@tool
def echo(value: object = None) -> object:
    """Gives back what it was given."""
    return value


@tool
def power(base: int, exponent: int) -> int:
    """Raises a number to a power."""
    return base**exponent


@tool
def size(data: bytes) -> int:
    """Counts bytes."""
    return len(data)


@tool
def reverse(data: bytes) -> bytes:
    """Turns bytes round."""
    return data[::-1]


@tool
def count(to: int, delay: float = 0.0) -> Iterator[int]:
    """Counts from one."""
    for number in range(1, to + 1):
        if delay:
            time.sleep(delay)
        yield number


@tool
def nap(seconds: float) -> float:
    """Sleeps until the time is up or nobody waits."""
    start = time.monotonic()
    while (left := start + seconds - time.monotonic()) > 0:
        context.check_cancelled()
        time.sleep(min(left, 0.01))
    return seconds


@tool
def steps(of: int) -> int:
    """Reports its progress."""
    for step in range(of):
        context.progress(step + 1, of, f"step {step + 1}")
        time.sleep(0.02)
    return of


@tool
def who() -> dict[str, object]:
    """Says what it knows about its call."""
    return {
        "pid": os.getpid(),
        "session": context.session_id,
        "metadata": context.metadata,
        "traceparent": context.traceparent,
        "remaining": context.remaining,
        "cwd": os.getcwd(),
        "env": os.environ.get("SNAKEPIT_TEST_VALUE"),
    }


@tool
def fail(message: str) -> None:
    """Raises."""
    try:
        raise KeyError("the cause")
    except KeyError as cause:
        raise ValueError(message) from cause


class Configured:
    """Takes arguments and keeps state."""

    def __init__(self, greeting: str = "hello", times: int = 1) -> None:
        self.greeting = greeting
        self.times = times

    @tool
    def greet(self, name: str) -> str:
        """Greets."""
        return " ".join([self.greeting] * self.times + [name])
