"""Tools that show whether a pool's calls run at the same time, in one process or in several."""

import os
import time

from snakepit import tool

__thread_safe__ = True

_PATIENCE_SECONDS = 30.0


@tool
def rendezvous(path: str, own: str, other: str) -> int:
    """Waits until another call has come to the same place, from whatever process."""
    with open(os.path.join(path, own), "w", encoding="utf-8"):
        pass
    end = time.monotonic() + _PATIENCE_SECONDS
    while not os.path.exists(os.path.join(path, other)):
        if time.monotonic() > end:
            raise TimeoutError(f"{other} never came")
        time.sleep(0.005)
    return os.getpid()


@tool
def alone(path: str) -> bool:
    """Says whether nobody else was inside at the same time, after a moment in there."""
    mark = os.path.join(path, "inside")
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    time.sleep(0.01)
    os.unlink(mark)
    return True
