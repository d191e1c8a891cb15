"""The side that talks to people: cheap, short, and best kept apart from what computes.

It runs in processes of its own, so that a bad request can take nothing down with it.
"""

import re

from snakepit import tool

_QUESTION = re.compile(r"how many primes are there below (\d{1,7})\?", re.IGNORECASE)

_PIECE = 5_000


@tool
def understand(question: str) -> list[tuple[int, int]]:
    """Reads a question.

    Args:
        question: What somebody wants to know.

    Returns:
        The pieces of work that answer it: where each starts, and where it stops.
    """
    found = _QUESTION.fullmatch(question.strip())
    if found is None:
        raise ValueError(f"I only know about primes, and not what is meant by {question!r}")
    end = int(found[1])
    return [(start, min(start + _PIECE, end)) for start in range(0, end, _PIECE)]


@tool
def answer(question: str, found: int) -> str:
    """Puts a result into words."""
    below = question.strip().rstrip("?").rsplit(" ", 1)[-1]
    return f"There are {found:,} primes below {int(below):,}."
