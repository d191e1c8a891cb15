"""Tools of a pipeline: one streams documents, one works on each, one brings it together.

Run by `cargo run -p snakepit --example pipeline`; the stages meet in the Rust program.
"""

from collections.abc import Iterator

import snakepit


@snakepit.tool
def documents(count: int) -> Iterator[dict[str, object]]:
    """Yields documents, and says how far it is.

    Args:
        count: How many.
    """
    for number in range(1, count + 1):
        snakepit.context.progress(number, count, "reading")
        yield {"id": number, "text": "to be or not to be " * number}


@snakepit.tool
def words(text: str) -> dict[str, int]:
    """Counts the words of a text.

    Args:
        text: The text; a document too long is refused.
    """
    found = text.split()
    if len(found) > 100:
        raise ValueError(f"{len(found)} words are too many")
    return {word: found.count(word) for word in found}


@snakepit.tool
def merge(counts: list[dict[str, int]]) -> dict[str, int]:
    """Adds up what was counted.

    Args:
        counts: The words of each document.
    """
    total: dict[str, int] = {}
    for each in counts:
        for word, count in each.items():
            total[word] = total.get(word, 0) + count
    return total


@snakepit.tool
def wait_until_cancelled(started: str) -> None:
    """Works until nobody waits for it any more.

    Args:
        started: A file that is made when the work has begun; removed when it has ended.
    """
    import time
    from pathlib import Path

    mark = Path(started)
    mark.touch()
    try:
        while True:
            snakepit.context.check_cancelled()
            time.sleep(0.01)
    finally:
        mark.unlink()
