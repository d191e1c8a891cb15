"""Tools that the benchmarks call, and that the peers call as plain functions."""

import time

try:
    from snakepit import tool
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
def echo(data: bytes) -> bytes:
    """Gives its argument back."""
    return data
