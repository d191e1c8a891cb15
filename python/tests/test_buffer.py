"""`snakepit.Buffer`, and values that cross as memory, without a host."""

from __future__ import annotations

import array
import ctypes
import dataclasses
import gc
import mmap
import threading
import weakref
from typing import Any

import numpy
import pytest

import snakepit
from snakepit import Buffer, DecodeError, EncodeError
from snakepit._convert import Compiler
from snakepit._native import Tool, pack, to_json, unpack

ARRAY = numpy.arange(12_000, dtype="f8").reshape(2, 3, 2000)


def buffer_of(array: Any = ARRAY) -> Buffer:
    """The object under a decoded array."""
    base = unpack(pack(array)).base
    assert isinstance(base, Buffer)
    return base


def test_a_buffer_is_what_was_sent() -> None:
    buffer = buffer_of()
    assert (len(buffer), buffer.nbytes, buffer.shape) == (2, 96_000, (2, 3, 2000))
    assert (buffer.dtype, buffer.readonly) == ("<f8", True)
    assert buffer.tobytes() == ARRAY.tobytes()
    assert repr(buffer) == "<snakepit.Buffer: <f8 [2, 3, 2000], read-only>"
    assert repr(Buffer(b"abc")) == "<snakepit.Buffer: 3 bytes, read-only>"


def test_a_buffer_speaks_the_buffer_protocol() -> None:
    view = memoryview(buffer_of())
    assert (view.format, view.shape, view.strides) == ("d", (2, 3, 2000), (48_000, 16_000, 8))
    assert view.readonly
    assert view.c_contiguous
    assert view[1, 2, 1999] == 11_999.0
    assert bytes(view.cast("B")[8:16]) == ARRAY.tobytes()[8:16]
    # What asks for bytes alone gets bytes alone.
    assert bytes(buffer_of())[:16] == ARRAY.tobytes()[:16]
    with pytest.raises(TypeError, match="not writable"):
        ctypes.c_char.from_buffer(buffer_of())


def test_a_buffer_speaks_dlpack() -> None:
    buffer = buffer_of()
    assert buffer.__dlpack_device__() == (1, 0)
    taken = numpy.from_dlpack(buffer)
    assert not taken.flags.writeable
    assert (taken == ARRAY).all()
    assert taken.dtype == ARRAY.dtype
    gone = weakref.ref(taken)
    del buffer
    gc.collect()
    assert (taken == ARRAY).all(), "the capsule keeps the memory"
    del taken
    assert gone() is None
    # Nobody takes this one.
    assert "dltensor_versioned" in repr(buffer_of().__dlpack__(max_version=(1, 2)))


def test_a_buffer_says_what_it_cannot_do() -> None:
    buffer = buffer_of()
    with pytest.raises(BufferError, match=r"DLPack 1\.0"):
        buffer.__dlpack__()
    with pytest.raises(BufferError, match="stays there"):
        buffer.__dlpack__(max_version=(1, 0), dl_device=(2, 0))
    with pytest.raises(BufferError, match="copy=None"):
        buffer.__dlpack__(max_version=(1, 0), copy=True)


@pytest.mark.parametrize("dtype", list("?bBhHiIlLefdFD"))
def test_every_element_type_comes_back(dtype: str) -> None:
    sent = (numpy.arange(70_000) % 100).astype(dtype)
    come = unpack(pack(sent))
    assert (come.dtype, come.dtype.char) == (sent.dtype, sent.dtype.char)
    assert (come == sent).all()
    assert (numpy.from_dlpack(come.base) == sent).all()


@pytest.mark.parametrize(
    "array",
    [
        ARRAY[:, ::-1],
        ARRAY.T,
        ARRAY.astype(">f8"),
        ARRAY.astype(">c16").T,
        ARRAY[:, :, :0],
        numpy.broadcast_to(numpy.float32(1), (300, 300)),
        numpy.asfortranarray(ARRAY),
    ],
    ids=["reversed", "transposed", "swapped", "both", "empty", "broadcast", "fortran"],
)
def test_any_layout_arrives_in_c_order(array: Any) -> None:
    come = unpack(pack(array))
    if array.nbytes == 0:
        assert come == array.tolist()
        return
    assert come.flags.c_contiguous
    assert come.shape == array.shape
    assert come.dtype == array.dtype.newbyteorder("=")
    assert (come == array).all()


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (numpy.full(30_000, "a"), ["a"] * 30_000),
        (numpy.ma.masked_equal(numpy.arange(9000), 1), [0, None, *range(2, 9000)]),
        (mmap.mmap(-1, 4), bytes(4)),
        ((ctypes.c_byte * 3)(1, 2, 3), b"\1\2\3"),
        (Buffer(b"xy"), b"xy"),
        (memoryview(array.array("i", range(40_000)))[::2], None),
    ],
)
def test_what_is_no_such_array_is_what_it_was(value: Any, form: Any) -> None:
    come = unpack(pack(value))
    assert come == (value.tobytes() if form is None else form)


def test_an_array_of_arrays_library_other_than_numpy() -> None:
    class Tensor:
        """As torch has it: no buffer protocol, but DLPack."""

        def __init__(self, array: Any, device: int = 1) -> None:
            self._array = array
            self._device = device
            self.nbytes = array.nbytes

        def tolist(self) -> Any:
            return "a list"

        def __dlpack_device__(self) -> tuple[int, int]:
            return self._device, 0

        def __dlpack__(self, **options: Any) -> Any:
            return self._array.__dlpack__(**options)

    assert (unpack(pack(Tensor(ARRAY))) == ARRAY).all()
    assert unpack(pack(Tensor(ARRAY[0, 0, :4]))) == "a list"
    assert unpack(pack(Tensor(ARRAY, device=2))) == "a list", "it is not the CPU's"


def test_a_buffer_crosses_as_it_is_at_any_size() -> None:
    small = buffer_of(numpy.arange(9000, dtype="u1").reshape(3, 3000).repeat(9, 1))
    assert unpack(pack(small)).shape == (3, 27_000)
    assert to_json(Buffer(b"\1")) == '"AQ=="'
    assert to_json(buffer_of(numpy.zeros(9000)))[:8] == "[0.0,0.0"


def test_json_has_lists_still() -> None:
    assert to_json(numpy.zeros((2, 9000)))[:9] == "[[0.0,0.0"
    with pytest.raises(EncodeError, match="1100000 elements"):
        to_json(numpy.zeros(1_100_000))


@pytest.mark.parametrize(
    "data",
    [
        b"\xc7\x00\x04",
        b"\xc7\x01\x04\x93",
        b"\xc7\x08\x04\x93\xa3<f8\x91\x01\xc4",
        b"\xc7\x0a\x04\x93\xa3<f8\x91\x02\xc4\x01\x00",
        b"\xc7\x09\x04\x93\xa3<q8\x91\x00\xc4\x00",
        b"\xc7\x09\x04\x93\xa3<f8\x91\xff\xc4\x00",
        b"\xc7\x0a\x04\x93\xa3<f8\x91\x00\xc4\x00\x00",
        b"\xd5\x03\x92\x00",
        b"\xd6\x03\x92\x00\x00\x00",
        b"\xd5\x05\x91\x01",
    ],
)
def test_what_only_looks_like_an_array_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack(data)


def bind(hint: Any, value: Any) -> Any:
    check = Compiler().parameter(hint)
    tool = Tool("tool", print, "function", [("x", 1, True, check, "what it takes")])
    return tool.bind({"x": unpack(pack(value))})[1]["x"]


@dataclasses.dataclass
class Picture:
    name: str
    pixels: memoryview


def test_hints_make_memory_of_what_came() -> None:
    assert bind(memoryview, b"ab") == memoryview(b"ab")
    assert bind(memoryview | None, None) is None
    assert bind(memoryview, ARRAY).shape == (2, 3, 2000)
    assert bind(Buffer, ARRAY).shape == (2, 3, 2000)
    assert bind(Buffer, b"ab").tobytes() == b"ab"
    assert bind(bytearray, b"ab") == bytearray(b"ab")
    assert bind(bytearray, ARRAY) == bytearray(ARRAY.tobytes())
    assert bind(numpy.ndarray, b"ab").tolist() == [97, 98]
    assert bind(numpy.ndarray, [1, 2]).tolist() == [1, 2]
    assert bind(list[memoryview], [b"a"]) == [memoryview(b"a")]
    assert bind(Picture, {"name": "n", "pixels": b"ab"}) == Picture("n", memoryview(b"ab"))


def test_an_array_is_a_list_for_who_takes_nothing_else() -> None:
    assert bind(list, ARRAY) == ARRAY.tolist()
    assert bind(list[list[list[float]]], ARRAY) == ARRAY.tolist()
    assert bind(list[float] | None, ARRAY[0, 0]) == ARRAY[0, 0].tolist()
    assert bind(tuple[float, ...], ARRAY.reshape(-1))[:2] == (0.0, 1.0)
    assert bind(set[int], numpy.arange(9000)) == set(range(9000))


@pytest.mark.parametrize("hint", [memoryview, Buffer, bytearray])
def test_what_is_no_memory_is_refused_by_name(hint: Any) -> None:
    with pytest.raises(snakepit.ArgumentsError, match=r"argument `x`.* expected bytes.*not str"):
        bind(hint, "text")


def test_threads_may_share_and_drop_one_buffer() -> None:
    buffers = [buffer_of() for _ in range(20)]
    start = threading.Barrier(8)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            start.wait()
            for buffer in list(buffers):
                assert memoryview(buffer)[1, 2, 1999] == 11_999.0
                assert numpy.from_dlpack(buffer)[0, 0, 1] == 1.0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    buffers.clear()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_array_to_fill_is_ordinary_without_a_host() -> None:
    array = snakepit.context.empty((300, 300), "f4")
    assert (array.shape, array.dtype, array.flags.writeable) == ((300, 300), numpy.float32, True)
    array = snakepit.context.empty(3)
    assert array.shape == (3,)
