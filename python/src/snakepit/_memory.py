"""From hints for bytes and arrays in memory to what they make of a value.

Owns `memoryview`, `bytearray`, `snakepit.Buffer` and `numpy.ndarray`; what becomes of a hint for
pyarrow's classes is `_arrow`'s. What comes in shared memory stays there for all of them but
`bytearray`, and is read-only; what came within the payload is made the same. Imports no numpy: a
hint that names it has loaded it.
"""

from __future__ import annotations

import sys

from snakepit import _hints
from snakepit._errors import MismatchError
from snakepit._native import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Converter = Callable[[Any], Any]

_EXPECTED = "bytes or an array"


def converter(cls: type[Any], arguments: tuple[Any, ...]) -> Converter | None:
    """Returns what makes a value of such a class; none if the class is no memory."""
    if cls is memoryview:
        return _view
    if cls is bytearray:
        return _bytearray
    if cls is Buffer:
        return _buffer
    if _hints.is_class(cls, "numpy", "ndarray"):
        return _array(arguments)
    if "pyarrow" in sys.modules:
        from snakepit import _arrow

        for name, convert in _arrow.CLASSES.items():
            if _hints.is_class(cls, "pyarrow", name):
                return convert
    return None


def is_array(value: object) -> bool:
    """Whether a decoded value is an array; those are read-only and in C order."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray):
        return True
    return isinstance(value, memoryview)


def listed(value: Any) -> Any:
    """Returns an array as nested lists, and anything else as it is."""
    return value.tolist() if is_array(value) else value


def _view(value: Any) -> memoryview:
    if isinstance(value, bytes | Buffer) or is_array(value):
        return memoryview(value)
    raise _mismatch(value)


def _bytearray(value: Any) -> bytearray:
    if isinstance(value, bytes | Buffer):
        return bytearray(value)
    if is_array(value):
        return bytearray(memoryview(value).cast("B"))
    raise MismatchError(f"expected bytes, not {_name(value)}")


def _buffer(value: Any) -> Buffer:
    if isinstance(value, bytes):
        return Buffer(value)
    # What was decoded lies over one, whatever it is shown as.
    under = getattr(value, "base", None) or getattr(value, "obj", None)
    for found in (value, under):
        if isinstance(found, Buffer):
            return found
    raise _mismatch(value)


def _array(arguments: tuple[Any, ...]) -> Converter:
    """Makes arrays with the element type that `NDArray[...]` names."""
    numpy = sys.modules["numpy"]
    dtype = None
    # The second argument is `dtype[...]`.
    for element in _hints.arguments_of(arguments[1]) if len(arguments) == 2 else ():
        dtype = element if _hints.is_class(element, "numpy", "generic") else None

    def convert(value: Any) -> Any:
        if isinstance(value, bytes | Buffer):
            value = numpy.frombuffer(value, dtype="uint8")
        if is_array(value):
            array = numpy.asarray(value)
            # `NDArray[numpy.floating]` names a family.
            if dtype is not None and not numpy.issubdtype(array.dtype, dtype):
                message = f"expected an array of {dtype.__name__}, not of {array.dtype}"
                raise MismatchError(message)
            return array
        if isinstance(value, list | bool | int | float):
            return numpy.array(value, dtype=dtype)
        raise MismatchError(f"expected an array or a list of numbers, not {_name(value)}")

    return convert


def _mismatch(value: object) -> MismatchError:
    return MismatchError(f"expected {_EXPECTED}, not {_name(value)}")


def _name(value: object) -> str:
    return "None" if value is None else type(value).__name__
