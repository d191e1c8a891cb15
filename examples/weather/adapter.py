"""Weather from a station that is not always there, and a native library that is not always well.

What happened before is kept in files, because a process that crashes forgets.
"""

import ctypes
import os

from snakepit import tool


def _visits(path: str) -> int:
    with open(path, "ab") as file:
        file.write(b".")
    return os.path.getsize(path)


@tool
def read(station: str, log: str) -> float:
    """Reads a temperature; the station answers every third time.

    Args:
        station: Name of the station.
        log: File in which visits are counted.
    """
    if station != "north":
        try:
            raise KeyError(station)
        except KeyError as missing:
            error = ValueError(f"there is no station named {station}")
            error.add_note("the stations are: north")
            raise error from missing
    if _visits(log) % 3:
        raise ConnectionResetError("the station hung up")
    return 7.5


@tool
def smooth(values: list[float], log: str) -> float:
    """Gives a mean, with a library that takes its process down at the first attempt.

    Args:
        values: Temperatures.
        log: File in which visits are counted.
    """
    if _visits(log) == 1:
        ctypes.string_at(0)
    return sum(values) / len(values)
