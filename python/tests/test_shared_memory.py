"""Large values between a real worker and a host that poisons what is given back."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy
import pytest
from fake_host import (
    CALL,
    CANCEL,
    CHUNK,
    CHUNK_END,
    CREDIT,
    ERROR,
    HOST_FRAGMENT,
    MSGPACK,
    REVOKE,
    REVOKED,
    SHM_REVOKE,
    THRESHOLD,
    TOOL_RESULT,
    CallError,
    FakeHost,
    Shared,
    message,
    packed,
    shared,
)

from snakepit._native import pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ADAPTER = '''
import gc
import hashlib
import threading
import numpy
import snakepit
from numpy.typing import NDArray
from snakepit import Buffer, context

kept = {}


def seen(value):
    """Name, element type, shape, whether it can be written, and a digest."""
    if isinstance(value, numpy.ndarray):
        writable = value.flags.writeable
    else:
        writable = isinstance(value, bytearray) or not memoryview(value).readonly
    view = memoryview(value)
    data = view.tobytes()
    return [type(value).__name__, view.format, list(view.shape), writable,
            hashlib.sha256(data).hexdigest()]


@snakepit.tool
def look(x):
    return seen(x)

@snakepit.tool
def look_deep(x):
    return [seen(part) for part in x["rows"][0]]

@snakepit.tool
def as_view(x: memoryview | None):
    return [*seen(x), type(x.obj).__name__]

@snakepit.tool
def as_buffer(x: Buffer):
    return [*seen(x), x.nbytes, x.readonly, x.dtype]

@snakepit.tool
def as_bytearray(x: bytearray):
    return seen(x)

@snakepit.tool
def as_bytes(x: bytes):
    return seen(x)

@snakepit.tool
def as_array(x: numpy.ndarray):
    return seen(x)

@snakepit.tool
def as_floats(x: NDArray[numpy.float32]):
    return seen(x)

@snakepit.tool
def as_list(x: list[float]):
    return [type(x).__name__, len(x), x[:2]]

@snakepit.tool
def keep(x: memoryview, name="x"):
    kept[name] = x

@snakepit.tool
def keep_cycle(x):
    circle = [x]
    circle.append(circle)
    gc.disable()

@snakepit.tool
def drop(name="x"):
    kept.pop(name, None)
    gc.enable()
    gc.collect()

@snakepit.tool
def first(name="x"):
    return kept[name][0]

@snakepit.tool
def fail(x):
    raise ValueError("no")

@snakepit.tool
def fail_and_keep(x):
    try:
        local = x[0]
        raise ValueError(local)
    except ValueError as error:
        kept["x"] = error

@snakepit.tool
def same(x):
    return x

@snakepit.tool
def same_view(x: memoryview):
    return x

@snakepit.tool
def look_and_copy(x):
    return x.copy()

@snakepit.tool
def parts(x):
    return [x[1:3], x.ravel()[1:], x[:, ::-1]]

@snakepit.tool
def keep_array(x):
    kept["x"] = x

@snakepit.tool
def kept_array():
    return kept["x"]

@snakepit.tool
def after_a_long_text(x):
    yield "a" * 5_000_000
    yield x

@snakepit.tool
def yield_back(x):
    yield x
    yield x

@snakepit.tool
def pass_on(x):
    return context.call_tool("sum", x=x)

@snakepit.tool
def in_thread(x: memoryview):
    done = threading.Event()
    go = threading.Event()
    def run(x):
        go.wait()
        kept["sum"] = sum(x[:10])
        del x
        done.set()
    threading.Thread(target=run, args=(x,)).start()
    kept["go"], kept["done"] = go, done

@snakepit.tool
def let_go():
    kept.pop("go").set()
    kept.pop("done").wait()

@snakepit.tool
def make(kind="plain", count=100_000):
    plain = numpy.arange(count, dtype="f8")
    return {
        "plain": lambda: plain,
        "strided": lambda: plain[::2],
        "fortran": lambda: plain.reshape(100, -1).T,
        "big": lambda: plain.astype(">i4"),
        "bytes": lambda: plain.tobytes(),
        "bytearray": lambda: bytearray(plain.tobytes()),
        "memoryview": lambda: memoryview(plain),
        "nested": lambda: {"a": [plain, {"b": plain[:1]}], "c": 7},
        "object": lambda: numpy.array([None] * count),
        "bool": lambda: plain > 10,
        "half": lambda: (plain % 1000).astype("f2"),
        "complex": lambda: plain.astype("c16"),
    }[kind]()

@snakepit.tool
def many(count=100, size=70_000):
    return [bytes([n % 256]) * size for n in range(count)]

@snakepit.tool
def fill(size=100_000, keep=False):
    array = context.empty(size)
    if keep:
        kept["filled"] = array
    assert array.flags.writeable and array.flags.c_contiguous and array.dtype == "f8"
    array[:] = numpy.arange(size)
    return {"whole": array, "part": array[8:16384], "odd": array[1:16384]}

@snakepit.tool
def fill_through_dlpack(size=100_000):
    array = context.empty(size, "i4")
    buffer = array.base
    capsule = repr(buffer.__dlpack__())
    other = numpy.from_dlpack(buffer)
    other[:] = 7
    return [capsule.split('"')[1], buffer.readonly, array]

@snakepit.tool
def fill_and_forget(size=100_000):
    context.empty(size)[:] = 1

@snakepit.tool
def again():
    array = kept["filled"]
    return [array.flags.writeable, array]

@snakepit.tool
def fill_and_return_a_part(size=100_000):
    kept["filled"] = context.empty(size)
    kept["filled"][:] = 5
    return kept["filled"][16:].reshape(2, -1)

@snakepit.tool
def fill_for_later(size=100_000):
    kept["filled"] = context.empty(size)
    kept["filled"][:] = 5

@snakepit.tool
def filled():
    return [float(kept["filled"][1]), float(kept["filled"][-1])]

@snakepit.tool
def fail_late():
    return [numpy.zeros(100_000), {(1, 2): 3}]

@snakepit.tool
def stream(count=3):
    for n in range(count):
        yield numpy.full(20_000, n, dtype="f8")

@snakepit.tool
async def stream_async(count=3):
    for n in range(count):
        yield numpy.full(20_000, n, dtype="f8")

@snakepit.tool
def ask(size=100_000):
    array = numpy.arange(size, dtype="i8")
    answer = context.call_tool("sum", x=array)
    return seen(answer)
'''


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., FakeHost]]:
    path = tmp_path / "large_adapter.py"
    path.write_text(ADAPTER)
    hosts: list[FakeHost] = []

    def start(*more: str, **options: Any) -> FakeHost:
        hosts.append(FakeHost(path, *more, **options))
        return hosts[-1]

    yield start
    for host in hosts:
        host.kill()


@pytest.fixture
def host(start: Callable[..., FakeHost]) -> FakeHost:
    return start()


ARRAY = numpy.arange(24_000, dtype="f8").reshape(4, 6000)
BYTES = bytes(range(256)) * 400


def send(host: FakeHost, command: str, array: Any = ARRAY, **more: Any) -> int:
    """Calls a tool with one array in shared memory."""
    body = shared(0, 1, array.dtype.str, list(array.shape))
    return host.start_with(command, host.payload_of(packed({"x": body}), array.tobytes()), **more)


def send_bytes(host: FakeHost, command: str, **arguments: Any) -> int:
    value = packed({"x": shared(0), **arguments})
    return host.start_with(command, host.payload_of(value, BYTES))


def released(host: FakeHost) -> bool:
    return not host.lent


# Arguments.


def test_an_array_arrives_as_a_read_only_numpy_array(host: FakeHost) -> None:
    assert host.hello[8] == [b"shm"]
    assert host.result(send(host, "look")) == [
        *("ndarray", "d", [4, 6000], False),
        digest(ARRAY.tobytes()),
    ]
    host.settle(lambda: released(host))
    assert host.close() == 0


@pytest.mark.parametrize("dtype", list("?bBhHiIlLefdFD"))
def test_every_element_type_arrives(host: FakeHost, dtype: str) -> None:
    array = (numpy.arange(70_000) % 100).astype(dtype)
    kind, _, shape, _, data = host.result(send(host, "look", array))
    assert (kind, shape, data) == ("ndarray", [70_000], digest(array.tobytes()))


@pytest.mark.parametrize(
    ("command", "kind", "format"),
    [
        ("look", "bytes", "B"),
        ("as_bytes", "bytes", "B"),
        ("as_bytearray", "bytearray", "B"),
        ("as_view", "memoryview", "B"),
        ("as_buffer", "Buffer", "B"),
        ("as_array", "ndarray", "B"),
    ],
)
def test_bytes_are_what_the_hint_says(host: FakeHost, command: str, kind: str, format: str) -> None:
    got = host.result(send_bytes(host, command))
    assert got[:5] == [kind, format, [len(BYTES)], kind == "bytearray", digest(BYTES)]
    if command == "as_view":
        assert got[5] == "Buffer", "it lies over the shared memory itself"
    host.settle(lambda: released(host))


@pytest.mark.parametrize(
    ("command", "kind"), [("as_view", "memoryview"), ("as_buffer", "Buffer"), ("look", "ndarray")]
)
def test_an_array_is_what_the_hint_says(host: FakeHost, command: str, kind: str) -> None:
    got = host.result(send(host, command))
    assert got[:5] == [kind, "d", [4, 6000], False, digest(ARRAY.tobytes())]
    assert host.result(send(host, "as_list", ARRAY.reshape(-1))) == ["list", 24_000, [0.0, 1.0]]


def test_an_element_type_that_the_hint_does_not_name_is_refused(host: FakeHost) -> None:
    with pytest.raises(CallError, match=r"argument `x`.* array of float32, not of float64"):
        host.result(send(host, "as_floats"))
    array = ARRAY.astype("f4")
    assert host.result(send(host, "as_floats", array))[4] == digest(array.tobytes())
    with pytest.raises(CallError, match="argument `x` must be bytes"):
        host.result(send(host, "as_bytes"))
    host.settle(lambda: released(host))


def test_what_is_deep_inside_arrives_too(host: FakeHost) -> None:
    rows = [shared(1, 1, "<f8", [4, 6000]), shared(0)]
    payload = host.payload_of(packed([{"rows": [rows]}]), BYTES, ARRAY.tobytes())
    array, data = host.result(host.start_with("look_deep", payload))
    assert (array[0], array[4]) == ("ndarray", digest(ARRAY.tobytes()))
    assert (data[0], data[4]) == ("bytes", digest(BYTES))
    host.settle(lambda: released(host))


def test_without_shared_memory_an_array_is_the_same(start: Callable[..., FakeHost]) -> None:
    host = start(shm=False)
    assert 8 not in host.hello
    got = host.call("look", {"x": ARRAY})
    assert got == ["ndarray", "d", [4, 6000], False, digest(ARRAY.tobytes())]
    result = host.call("make", {"kind": "strided"})
    assert (result == numpy.arange(100_000, dtype="f8")[::2]).all()
    assert host.call("make", {"kind": "bytes"}) == numpy.arange(100_000, dtype="f8").tobytes()
    assert host.call("fill")["part"][0] == 8
    assert host.close() == 0


def test_an_array_is_a_memoryview_where_numpy_is_not_imported(tmp_path: Path) -> None:
    path = tmp_path / "no_numpy.py"
    path.write_text(
        "import sys, snakepit\n"
        "@snakepit.tool\n"
        "def look(x):\n"
        "    return [type(x).__name__, x.format, x.shape, x.readonly, 'numpy' in sys.modules]\n"
        "@snakepit.tool\n"
        "def same(x): return x\n"
    )
    host = FakeHost(path)
    try:
        got = host.result(send(host, "look"))
        assert got == ["memoryview", "d", [4, 6000], True, False]
        assert host.result(send(host, "same")).data == ARRAY.tobytes()
    finally:
        host.kill()


# Lifetimes.


def test_memory_is_given_back_when_the_last_view_is_gone(host: FakeHost) -> None:
    assert host.result(send_bytes(host, "keep", name="a")) is None
    assert host.result(send_bytes(host, "keep", name="b")) is None
    assert len(host.lent) == 2, "both are looked at beyond their calls"
    assert host.call("first", ["a"]) == BYTES[0]
    host.call("drop", ["a"])
    host.settle(lambda: len(host.lent) == 1)
    assert host.call("first", ["b"]) == BYTES[0], "the other one is not poisoned"
    host.call("drop", ["b"])
    host.settle(lambda: released(host))


def test_a_cycle_is_given_back_when_it_is_collected(host: FakeHost) -> None:
    host.result(send(host, "keep_cycle"))
    assert len(host.lent) == 1
    host.call("drop")
    host.settle(lambda: released(host))


def test_an_exception_keeps_memory_as_long_as_it_lives(host: FakeHost) -> None:
    host.result(send(host, "fail_and_keep"))
    host.call("look", {"x": b""})
    assert len(host.lent) == 1
    host.call("drop")
    host.settle(lambda: released(host))


def test_a_call_that_fails_gives_its_memory_back(host: FakeHost) -> None:
    for command in ("fail", "no_such_tool", "drop"):
        with pytest.raises(CallError):
            host.result(send(host, command))
    # Not even an array: it says more than there is.
    payload = host.payload_of(packed([shared(0, 1, "<f8", [1 << 40])]), BYTES)
    with pytest.raises(CallError, match=r"has .* bytes where"):
        host.result(host.start_with("look", payload))
    payload = host.payload_of(packed([shared(1)]), BYTES)
    with pytest.raises(CallError, match="no shared memory of index 1"):
        host.result(host.start_with("look", payload))
    host.settle(lambda: released(host))
    assert host.call("make", {"kind": "plain", "count": 2}) == [0.0, 1.0], "and goes on"


def test_a_call_that_never_starts_gives_its_memory_back(host: FakeHost) -> None:
    host.slow_grants = True
    busy = host.start("make")
    host.settle(lambda: bool(host.wants))
    # It waits for its grant, so these two wait for it.
    cancelled, revoked = send(host, "look"), send(host, "look")
    host.send(CANCEL, message(f1=cancelled))
    host.send(REVOKE, message(f1=[revoked]))
    host.wait_for(lambda kind, fields: kind == ERROR and fields[1][0] == cancelled)
    host.wait(REVOKED)
    host.settle(lambda: released(host))
    # And one whose time is over before it starts.
    body = message(f1=77, f2="look", f3=host.payload_of(packed([shared(0)]), BYTES), f4=1)
    host.send(CALL, body)
    host.answer_wants()
    host.result(busy)
    host.wait_for(lambda kind, fields: kind == ERROR and fields[1][0] == 77)
    host.settle(lambda: released(host))


def test_memory_beside_fragments_is_given_back_too(host: FakeHost) -> None:
    data = packed({"x": shared(0), "more": b"x" * 10})
    reference = host.lend(BYTES)
    head = message(f1=MSGPACK, f3=len(data), f4=9, f5=reference)
    host.send(CALL, message(f1=50, f2="same", f3=head))
    host.send(HOST_FRAGMENT, message(f1=9, f3=data[:5]))
    host.send(CANCEL, message(f1=50))
    host.wait_for(lambda kind, fields: kind == ERROR and fields[1][0] == 50)
    host.settle(lambda: released(host))
    host.send(HOST_FRAGMENT, message(f1=9, f2=5, f3=data[5:]))
    assert host.call("make", {"kind": "plain", "count": 2}) == [0.0, 1.0]


def test_any_thread_may_be_the_last_to_look(host: FakeHost) -> None:
    host.result(send_bytes(host, "in_thread"))
    assert len(host.lent) == 1
    host.call("let_go")
    host.settle(lambda: released(host))


def test_many_calls_give_everything_back_once(host: FakeHost) -> None:
    calls = [send(host, "look", ARRAY[:, :3000]) for _ in range(60)]
    for call in calls:
        assert host.result(call)[0] == "ndarray"
    host.settle(lambda: released(host))
    # `lent.remove` would have failed on a second release.
    assert host.close() == 0


# Results.


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("plain", "<f8"),
        ("strided", "<f8"),
        ("fortran", "<f8"),
        ("big", "<i4"),
        ("bool", "|b1"),
        ("half", "<f2"),
        ("complex", "<c16"),
    ],
)
def test_an_array_crosses_in_c_order(host: FakeHost, kind: str, dtype: str) -> None:
    plain = numpy.arange(100_000, dtype="f8")
    expected = {
        "strided": plain[::2],
        "fortran": plain.reshape(100, -1).T,
        "bool": plain > 10,
        "half": plain % 1000,
    }.get(kind, plain)
    result = host.call("make", {"kind": kind})
    expected = numpy.ascontiguousarray(expected).astype(dtype)
    assert isinstance(result, Shared)
    assert (result.kind, result.dtype, result.shape) == (1, dtype, expected.shape)
    assert result.data == expected.tobytes()


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview"])
def test_bytes_cross_as_bytes(host: FakeHost, kind: str) -> None:
    result = host.call("make", {"kind": kind})
    assert isinstance(result, Shared)
    assert (result.kind, result.data) == (0, numpy.arange(100_000, dtype="f8").tobytes())


def test_small_and_odd_values_stay_what_they_were(host: FakeHost) -> None:
    assert host.call("make", {"kind": "plain", "count": 3}) == [0.0, 1.0, 2.0]
    nested = host.call("make", {"kind": "nested"})
    assert isinstance(nested["a"][0], Shared)
    assert (nested["a"][1], nested["c"]) == ({"b": [0.0]}, 7)
    assert host.call("make", {"kind": "object"}) == [None] * 100_000


def test_more_than_a_million_elements_are_no_trouble(host: FakeHost) -> None:
    result = host.call("make", {"count": 1_500_000})
    assert result.data == numpy.arange(1_500_000, dtype="f8").tobytes()


def test_values_of_one_result_share_segments(host: FakeHost) -> None:
    results = host.call("many")
    assert [result.data for result in results] == [bytes([n]) * 70_000 for n in range(100)]
    assert len({result.number for result in results}) <= 8
    assert all(result.offset % 64 == 0 for result in results)


def test_a_segment_is_used_again_when_the_host_grants_it_again(host: FakeHost) -> None:
    first = host.call("make")
    host.grant_again(first.number)
    second = host.call("make")
    assert (second.number, second.generation) == (first.number, first.generation + 1)
    assert second.data == first.data
    third = host.call("make")
    assert third.number != second.number, "that one is the host's"


def test_a_refusal_sends_everything_in_the_payload(start: Callable[..., FakeHost]) -> None:
    host = start(quota=0)
    result = host.call("make", {"kind": "fortran"})
    assert (result == numpy.arange(100_000, dtype="f8").reshape(100, -1).T).all()
    assert host.call("make", {"kind": "bytes"}) == numpy.arange(100_000, dtype="f8").tobytes()
    whole = host.call("fill")["whole"]
    assert whole[-1] == 99_999
    assert host.wants_answered == 1


def test_a_strict_pool_refuses_what_it_cannot_share(start: Callable[..., FakeHost]) -> None:
    host = start(quota=0, strict=True)
    with pytest.raises(CallError, match=r"result: 800000 bytes cannot go") as error:
        host.call("make")
    assert error.value.kind == 11
    assert host.call("make", {"count": 2}) == [0.0, 1.0]


def test_a_host_that_does_not_answer_holds_nobody_up(host: FakeHost) -> None:
    host.slow_grants = True
    result = host.call("make")
    assert (result == numpy.arange(100_000, dtype="f8")).all(), "it went inline in the end"
    # What is granted too late serves the next.
    host.answer_wants()
    assert isinstance(host.call("make"), Shared)
    assert host.wants == []


def test_a_result_that_fails_keeps_its_segment(host: FakeHost) -> None:
    with pytest.raises(CallError, match=r"result\[1\].*a map key"):
        host.call("fail_late")
    assert list(host.granted) == [1]
    assert host.call("make").number == 1
    assert host.wants_answered == 1


def test_an_argument_comes_back_as_it_lies(host: FakeHost) -> None:
    result = host.result(send(host, "same"))
    assert (result.number, result.offset, result.shape) == (1, 0, (4, 6000))
    assert result.data == ARRAY.tobytes()
    host.settle(lambda: released(host))
    # A view of bytes too; what the tool has copied itself is new.
    assert host.result(send_bytes(host, "same_view")).number == 2
    assert host.result(send(host, "look_and_copy")).number not in {1, 2, 3}
    assert host.close() == 0


def test_a_part_of_an_argument_comes_back_as_it_lies_where_it_may_begin(host: FakeHost) -> None:
    part, odd, turned = host.result(send(host, "parts"))
    assert (part.number, part.offset, part.shape) == (1, 48_000, (2, 6000))
    assert part.data == ARRAY[1:3].tobytes()
    assert {odd.number, turned.number}.isdisjoint({1})
    assert odd.data == ARRAY.ravel()[1:].tobytes()
    assert turned.data == ARRAY[:, ::-1].tobytes()
    host.settle(lambda: released(host))


def test_what_is_kept_comes_back_again_and_is_given_back_once(host: FakeHost) -> None:
    host.result(send(host, "keep_array"))
    assert [host.call("kept_array").number for _ in range(3)] == [1, 1, 1]
    assert len(host.lent) == 1
    host.call("drop")
    host.settle(lambda: released(host))
    assert host.close() == 0


def test_nothing_is_given_back_before_the_chunk_that_names_it(host: FakeHost) -> None:
    body = shared(0, 1, ARRAY.dtype.str, list(ARRAY.shape))
    payload = host.payload_of(packed({"x": body}), ARRAY.tobytes())
    host.start_with("after_a_long_text", payload, streaming=True)
    # Many fragments, behind which the array waits though nothing in Python has it any more.
    chunks = [host.value(host.wait(CHUNK)[3][0]) for _ in range(2)]
    assert len(chunks[0]) == 5_000_000
    assert (chunks[1].number, chunks[1].data) == (1, ARRAY.tobytes())
    host.settle(lambda: released(host))


def test_a_chunk_without_credit_that_never_leaves_gives_its_argument_back(host: FakeHost) -> None:
    body = shared(0, 1, ARRAY.dtype.str, list(ARRAY.shape))
    payload = host.payload_of(packed({"x": body}), ARRAY.tobytes())
    call = host.start_with("yield_back", payload, streaming=True, credit=1)
    assert host.value(host.wait(CHUNK)[3][0]).number == 1
    host.send(CANCEL, message(f1=call))
    host.wait(ERROR)
    host.settle(lambda: released(host))


def test_an_argument_goes_on_to_a_tool_of_the_host(host: FakeHost) -> None:
    numbers: list[int] = []

    def answer(fields: dict[int, list[Any]]) -> None:
        numbers.append(host.value(fields[4][0])["x"].number)
        host.send(TOOL_RESULT, message(f1=fields[1][0], f2=message(f1=MSGPACK, f2=pack(7))))

    host.on_tool = answer
    assert host.result(send(host, "pass_on")) == 7
    assert numbers == [1]
    host.settle(lambda: released(host))


def test_what_the_host_wants_back_is_given_back_when_it_is_free(host: FakeHost) -> None:
    result = host.call("make")
    host.grant_again(result.number)
    host.send(SHM_REVOKE, message(f1=[result.number]))
    host.settle(lambda: not host.granted)
    assert host.call("make").number != result.number


def test_what_is_written_when_the_host_wants_it_back_comes_with_a_result(host: FakeHost) -> None:
    host.call("fill_for_later")
    host.send(SHM_REVOKE, message(f1=[1]))
    assert host.call("make", {"count": 3}) == [0.0, 1.0, 2.0]
    assert list(host.granted) == [1], "it is not given back under the array"
    writable, array = host.call("again")
    assert writable
    assert (array.number, array.data) == (1, numpy.full(100_000, 5.0).tobytes())
    # The host has it now, and asks once more; the array is still there to be looked at.
    host.send(SHM_REVOKE, message(f1=[1]))
    assert host.call("filled") == [5.0, 5.0]
    host.call("drop", ["filled"])
    assert host.call("make").number != 1


# `context.empty`.


def test_an_array_that_was_asked_for_crosses_as_it_lies(host: FakeHost) -> None:
    result = host.call("fill")
    whole, part, odd = result["whole"], result["part"], result["odd"]
    plain = numpy.arange(100_000, dtype="f8")
    assert whole.data == plain.tobytes()
    assert (whole.offset, whole.shape) == (0, (100_000,))
    assert (part.number, part.offset) == (whole.number, 64), "a view of it needs no copy"
    assert part.data == plain[8:16384].tobytes()
    # This one begins where nothing may begin.
    assert odd.number != whole.number
    assert odd.data == plain[1:16384].tobytes()
    assert host.wants_answered == 1


def test_such_an_array_crosses_once_and_is_read_only_then(host: FakeHost) -> None:
    first = host.call("fill", {"keep": True})["whole"]
    writable, second = host.call("again")
    assert not writable
    assert second.number != first.number
    assert second.data == first.data


def test_what_a_returned_array_is_a_part_of_is_read_only_too(host: FakeHost) -> None:
    part = host.call("fill_and_return_a_part")
    assert (part.offset, part.shape) == (128, (2, 49_992))
    assert part.data == numpy.full(99_984, 5.0).tobytes()
    writable, whole = host.call("again")
    assert not writable
    assert whole.data == numpy.full(100_000, 5.0).tobytes()


def test_a_segment_that_is_looked_at_is_not_used_again(host: FakeHost) -> None:
    first = host.call("fill", {"keep": True})["whole"]
    host.segments[first.number].poison()
    host.grant_again(first.number)
    others = [host.call("make").number for _ in range(3)]
    assert first.number not in others, "an array of Python's lies over it"
    assert host.call("drop", ["filled"]) is None
    assert host.call("make").number == first.number


def test_such_an_array_can_be_written_through_dlpack(host: FakeHost) -> None:
    capsule, readonly, array = host.call("fill_through_dlpack")
    assert (capsule, readonly) == ("dltensor", False)
    assert array.data == numpy.full(100_000, 7, dtype="i4").tobytes()
    assert host.wants_answered == 1


def test_an_array_that_is_not_returned_is_free_again(host: FakeHost) -> None:
    host.call("fill_and_forget")
    assert host.call("make").number == 1
    assert host.wants_answered == 1


# Streams and tools.


@pytest.mark.parametrize("command", ["stream", "stream_async"])
def test_chunks_go_through_shared_memory(host: FakeHost, command: str) -> None:
    call = host.start(command, streaming=True)
    for n in range(3):
        chunk = host.wait(CHUNK)
        assert chunk.get(2, [0]) == [n]
        value = host.value(chunk[3][0])
        assert value.data == numpy.full(20_000, n, dtype="f8").tobytes()
        host.grant_again(value.number)
    assert host.wait(CHUNK_END)[1] == [call]


def test_a_chunk_without_credit_gives_its_segment_back(host: FakeHost) -> None:
    call = host.start("stream", streaming=True, credit=1)
    host.value(host.wait(CHUNK)[3][0])
    host.settle(lambda: len(host.granted) == 1)
    host.send(CANCEL, message(f1=call))
    host.wait(ERROR)
    number = next(iter(host.granted))
    assert host.call("make", {"count": 20_000}).number == number
    call = host.start("stream", streaming=True, credit=1)
    host.send(CREDIT, message(f1=call, f2=10))
    host.wait(CHUNK_END)


def test_arguments_and_results_of_host_tools_are_shared(host: FakeHost) -> None:
    asked: list[Any] = []

    def on_tool(fields: dict[int, list[Any]]) -> None:
        asked.append(host.value(fields[4][0])["x"])
        answer = host.payload_of(packed(shared(0, 1, "<f8", [4, 6000])), ARRAY.tobytes())
        host.send(TOOL_RESULT, message(f1=fields[1][0], f2=answer))

    host.on_tool = on_tool
    assert host.call("ask") == ["ndarray", "d", [4, 6000], False, digest(ARRAY.tobytes())]
    assert asked[0].data == numpy.arange(100_000, dtype="i8").tobytes()
    host.settle(lambda: released(host))


# The link.


def test_a_segment_that_was_never_sent_ends_the_link(host: FakeHost) -> None:
    reference = message(f1=99, f2=1, f4=10)
    host.start_with("look", message(f1=MSGPACK, f2=packed([shared(0)]), f5=reference))
    assert host.worker.wait(20) == 4


def test_threads_share_segments_too(tmp_path: Path) -> None:
    path = tmp_path / "large_threads.py"
    path.write_text(
        "import numpy, snakepit\n"
        "class Large(snakepit.Adapter):\n"
        "    __thread_safe__ = True\n"
        "    @snakepit.tool\n"
        "    def make(self, n):\n"
        "        return numpy.full(20_000, n, dtype='f8')\n"
    )
    host = FakeHost(path, "--capacity", "4")
    try:
        calls = [host.start("make", [n]) for n in range(40)]
        for n, call in enumerate(calls):
            result = host.result(call)
            assert result.data == numpy.full(20_000, n, dtype="f8").tobytes()
            host.grant_again(result.number)
        assert len(host.segments) <= 40
    finally:
        host.kill()


def test_the_threshold_is_the_hosts(start: Callable[..., FakeHost]) -> None:
    host = start(threshold=1 << 20)
    assert host.call("make") == numpy.arange(100_000, dtype="f8").tolist()
    assert isinstance(host.call("make", {"count": 200_000}), Shared)
    assert len(pack(numpy.zeros(THRESHOLD // 8))) > THRESHOLD
