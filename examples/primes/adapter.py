"""Counts primes in pure Python: work that only computes, and holds the GIL where there is one.

Run it in a pool of processes or of threads; it keeps nothing between calls, so it needs no lock.
"""

import os

from snakepit import tool

__thread_safe__ = True


@tool
def count_primes(start: int, stop: int) -> dict[str, int]:
    """Counts the primes from `start` up to `stop`, by trial division.

    Args:
        start: The first number looked at.
        stop: The first number not looked at.

    Returns:
        How many there are, and the process that counted them.
    """
    found = 0
    for number in range(max(start, 2), stop):
        divisor = 2
        while divisor * divisor <= number and number % divisor:
            divisor += 1
        found += divisor * divisor > number
    return {"found": found, "pid": os.getpid()}
