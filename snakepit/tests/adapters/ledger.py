"""Tools that leave a trace of having run, or do not survive."""

import os
import signal
import time

from snakepit import tool

_hoard: list[bytes] = []


@tool
def note(ledger: str, number: int, data: bytes) -> list[int]:
    """Writes its number down, in one write that no other can come between."""
    with open(ledger, "ab", buffering=0) as file:
        file.write(b"%8d\n" % number)
    return [number, len(data)]


@tool
def hoard(mebibytes: int, seconds: float) -> int:
    """Takes memory and goes on for a while."""
    _hoard.append(b"\x01" * (mebibytes << 20))
    time.sleep(seconds)
    return os.getpid()


@tool
def perhaps(*, die: bool = False, seconds: float = 0.0) -> int:
    """Returns, or has its process killed."""
    if seconds:
        time.sleep(seconds)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()
