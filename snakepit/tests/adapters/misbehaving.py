"""Tools that do what tools should not."""

import ctypes
import os
import signal
import sys
import threading
import time

from snakepit import context, tool


@tool
def echo(value: object = None) -> object:
    """Gives back what it was given."""
    return value


@tool
def add(a: int, b: int) -> int:
    """Adds two integers."""
    return a + b


@tool
def shout(lines: int) -> int:
    """Prints, from Python and below it."""
    for line in range(lines):
        print(f"line {line}")
    sys.stdout.flush()
    os.write(1, b"\x00\x01\xff no text, no end of line")
    return lines


@tool
def leave(code: int) -> None:
    """Ends the process."""
    os._exit(code)


@tool
def die(sig: str = "SIGKILL") -> None:
    """Has the process killed."""
    os.kill(os.getpid(), signal.Signals[sig])
    threading.Event().wait()


@tool
def big(length: int) -> bytes:
    """Gives many bytes."""
    return bytes(length)


@tool
def surrogate() -> str:
    """Gives a text that has no UTF-8 form."""
    return "\udc80"


@tool
def cycle() -> list[object]:
    """Gives a list that holds itself."""
    items: list[object] = []
    items.append(items)
    return items


@tool
def opaque() -> object:
    """Gives something that has no form outside Python."""
    return threading.Lock()


@tool
def clutch(seconds: int) -> int:
    """Sleeps in native code without letting go of the GIL."""
    ctypes.PyDLL(None).sleep(seconds)
    return seconds


_hoard: list[bytes] = []


@tool
def hoard(mebibytes: int) -> int:
    """Never gives its memory back."""
    _hoard.append(b"\x01" * (mebibytes << 20))
    return len(_hoard)


@tool
def dawdle(seconds: float) -> str:
    """Looks at no deadline and no cancellation, and answers late."""
    time.sleep(seconds)
    return "late"


@tool
def hold_on() -> None:
    """Says in which process it runs, and never ends."""
    context.progress(0, message=str(os.getpid()))
    threading.Event().wait()


@tool
def linger(value: int) -> int:
    """Gives back what it was given, after some milliseconds."""
    time.sleep(0.004)
    return value
