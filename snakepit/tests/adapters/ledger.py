"""Tools that leave a trace of having run, or do not survive."""

import os
import signal
import time

from snakepit import tool

_hoard: list[bytes] = []


@tool
def note(ledger: str, number: int, data: bytes = b"", *, die: bool = False) -> list[int]:
    """Writes its number down, in one write that no other can come between."""
    with open(ledger, "ab", buffering=0) as file:
        file.write(b"%8d\n" % number)
    if die:
        os.kill(os.getpid(), signal.SIGKILL)
    return [number, len(data)]


@tool
def hoard(mebibytes: int, seconds: float) -> int:
    """Takes memory and goes on for a while."""
    _hoard.append(b"\x01" * (mebibytes << 20))
    time.sleep(seconds)
    return os.getpid()


@tool
def nap(seconds: float) -> float:
    """Takes its time."""
    time.sleep(seconds)
    return seconds
