"""Tools on arrays and bytes, large and small."""

import gc
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import numpy
from snakepit import context, tool

__thread_safe__ = True

# Appending and clearing are one step each.
_kept: list[Any] = []


@tool
def echo(value: Any) -> Any:
    """Gives back what it was given."""
    return value


@tool
def describe(value: Any) -> dict[str, Any]:
    """Says what has arrived: its type, and what an array is."""
    found: dict[str, Any] = {"type": type(value).__name__}
    if isinstance(value, numpy.ndarray):
        found |= {
            "dtype": value.dtype.str,
            "shape": list(value.shape),
            "writeable": bool(value.flags.writeable),
            "sum": float(abs(value.sum())),
        }
    elif isinstance(value, (bytes, bytearray, memoryview)):
        found |= {"len": len(value), "sum": sum(bytes(value[:1000]))}
    return found


@tool
def below(value: Any, row: int) -> Any:
    """Gives back the rows of an array from one on."""
    return value[row:]


@tool
def viewed(value: memoryview) -> list[Any]:
    """Sees bytes where they lie."""
    return [type(value).__name__, value.readonly, value.nbytes]


@tool
def nested(values: dict[str, Any]) -> dict[str, Any]:
    """Doubles each array in a dict, at any depth."""
    return {
        name: nested(value) if isinstance(value, dict) else value * 2 if isinstance(value, numpy.ndarray) else value
        for name, value in values.items()
    }


@tool
def zeros(shape: list[int], dtype: str) -> Any:
    """Makes an array the ordinary way."""
    return numpy.arange(int(numpy.prod(shape)), dtype=dtype).reshape(shape)


@tool
def filled(shape: list[int], value: float) -> Any:
    """Makes an array where its caller will see it."""
    out = context.empty(shape, "float64")
    out[...] = value
    return {"array": out, "note": "made in place"}


@tool
def blob(size: int) -> bytes:
    """Makes bytes."""
    return bytes(i % 251 for i in range(1000)) * (size // 1000)


@tool
def frames(count: int, rows: int) -> Iterator[Any]:
    """Yields arrays."""
    for number in range(count):
        yield numpy.full((rows, 1024), number, dtype="float32")


@tool
def keep(value: Any) -> int:
    """Holds on to what it was given, after the call."""
    _kept.append(value)
    return len(_kept)


@tool
def kept_sums() -> list[float]:
    """What is held still has."""
    return [float(value.sum()) for value in _kept]


@tool
def let_go() -> None:
    """Lets go of it."""
    _kept.clear()
    # Without the GIL an object waits for the thread that has made it, or for this.
    gc.collect()


@tool
def hold_and_wait(value: Any) -> None:
    """Holds an array until it is killed."""
    _kept.append((value, context.empty((64, 1024), "float64")))
    time.sleep(600)


@tool
def die(value: Any) -> None:
    """Is killed with an array in its hands."""
    _kept.append((value, context.empty((64, 1024), "float64")))
    os.kill(os.getpid(), signal.SIGKILL)


@tool
def ask(name: str, value: Any) -> Any:
    """Has the host work on an array."""
    return context.call_tool(name, array=value)


@tool
def strided() -> Any:
    """Gives an array that is no block of memory."""
    return numpy.arange(400_000, dtype="float64").reshape(200, 2000)[::2, ::-1]
