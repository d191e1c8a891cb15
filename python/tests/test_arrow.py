"""Arrow's record batches, with pyarrow loaded, and as a worker and a host exchange them."""

from __future__ import annotations

import base64
import dataclasses
import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgpack
import pyarrow
import pytest
from fake_host import FakeHost, packed, shared

from snakepit import Buffer, DecodeError, EncodeError, _arrow
from snakepit._convert import Compiler
from snakepit._errors import MismatchError
from snakepit._native import Marker, pack, to_json, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TABLE = pyarrow.table(
    {
        "number": pyarrow.array([1, None, 3], "int32"),
        "text": ["a", None, "grüße"],
        "list": [[1], [], None],
        "kind": pyarrow.array(["x", "y", "x"]).dictionary_encode(),
        "nothing": pyarrow.nulls(3),
    }
)


def stream_of(table: Any = TABLE) -> bytes:
    return _arrow.stream(table).to_pybytes()


class Foreign:
    """Rows of a library that pyarrow does not know."""

    def __init__(self, value: Any) -> None:
        self._value = value

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._value.__arrow_c_stream__(requested_schema)


class Failing:
    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        raise RuntimeError("no rows today")


@pytest.mark.parametrize(
    "value",
    [TABLE, TABLE.to_batches()[0], TABLE.to_reader(), Foreign(TABLE)],
    ids=["table", "batch", "reader", "foreign"],
)
def test_what_gives_rows_crosses_as_a_stream_and_comes_back_as_a_table(value: Any) -> None:
    data = pack({"x": [value]})
    code, body = msgpack.unpackb(data)["x"][0]
    assert code == 5
    assert msgpack.unpackb(body) == [stream_of()]
    assert unpack(data)["x"][0].equals(TABLE)


@pytest.mark.parametrize("table", [TABLE.slice(1, 1), TABLE.slice(0, 0), TABLE.select([])])
def test_a_part_of_a_table_is_no_more_than_that(table: Any) -> None:
    assert unpack(pack(table)).equals(table)
    whole = pyarrow.table({"x": range(100_000)})
    assert len(pack(whole.slice(7, 3))) < 1000


def test_a_stream_is_as_large_as_was_said_and_written_once() -> None:
    for table in (TABLE, TABLE.slice(1, 1), pyarrow.table({"x": range(50_000)})):
        size = _arrow.stream_bytes(table)
        assert size == len(stream_of(table))
        room = bytearray(size)
        _arrow.write(table, room)  # pyright: ignore[reportArgumentType]
        assert room == stream_of(table)


def test_a_table_lies_in_the_memory_of_its_stream() -> None:
    buffer = Buffer(stream_of())
    view = memoryview(buffer)
    start = pyarrow.py_buffer(buffer).address
    table = _arrow.table_in(buffer)
    del buffer
    gc.collect()
    parts = [part for column in table.columns for part in column.chunk(0).buffers() if part]
    assert len(parts) > 5
    assert all(start <= part.address < start + view.nbytes for part in parts)
    assert table.equals(TABLE)


def test_a_stream_that_is_none_does_not_decode() -> None:
    for stream in (b"", b"no stream at all", stream_of()[:-20] + b"1" * 20):
        with pytest.raises(DecodeError):
            unpack(packed(msgpack.ExtType(5, packed([stream]))))
    with pytest.raises(DecodeError, match="none"):
        unpack(packed(msgpack.ExtType(5, packed([1]))))


def test_in_json_it_is_the_stream_as_base64_text() -> None:
    assert to_json({"x": TABLE}) == '{"x":"' + base64.b64encode(stream_of()).decode() + '"}'


def test_a_column_is_no_rows_and_a_failure_is_told() -> None:
    marker = unpack(pack(TABLE["number"]))
    assert isinstance(marker, Marker)
    with pytest.raises(EncodeError, match=r"__arrow_c_stream__.*no rows today"):
        pack([Failing()])


def test_without_pyarrow_a_stream_is_a_buffer_and_rows_are_a_marker() -> None:
    code = """if True:
        import sys
        from snakepit import Buffer
        from snakepit._native import Marker, pack, unpack
        class Foreign:
            def __arrow_c_stream__(self, requested_schema=None): raise RuntimeError
        assert isinstance(unpack(pack(Foreign())), Marker)
        stream = unpack(bytes.fromhex(sys.argv[1]))
        assert isinstance(stream, Buffer) and stream.tobytes() == bytes.fromhex(sys.argv[2])
        assert "pyarrow" not in sys.modules
    """
    arguments = [pack(TABLE).hex(), stream_of().hex()]
    subprocess.run([sys.executable, "-c", code, *arguments], check=True)


@dataclasses.dataclass
class Order:
    name: str
    table: pyarrow.Table


def convert(hint: Any, value: Any) -> Any:
    return Compiler().converter(hint)(value)


def test_a_hint_says_which_class_it_is() -> None:
    stream = Buffer(stream_of())
    assert convert(pyarrow.Table, stream).equals(TABLE)
    assert convert(pyarrow.Table, stream_of()).equals(TABLE)
    assert convert(pyarrow.Table | None, None) is None
    assert convert(pyarrow.Table | None, stream).equals(TABLE)
    assert convert(list[pyarrow.Table], [stream])[0].equals(TABLE)
    assert convert(Order, {"name": "n", "table": stream}).table.equals(TABLE)
    reader = convert(pyarrow.RecordBatchReader, stream)
    assert isinstance(reader, pyarrow.RecordBatchReader)
    assert reader.read_all().equals(TABLE)
    assert memoryview(convert(memoryview, stream)).tobytes() == stream_of()
    assert convert(Buffer, stream) is stream
    assert convert(bytearray, stream) == stream_of()


def test_several_batches_are_made_one_where_one_is_asked_for() -> None:
    batch = convert(pyarrow.RecordBatch, Buffer(stream_of()))
    assert batch.equals(TABLE.to_batches()[0])
    two = pyarrow.concat_tables([TABLE, TABLE])
    assert len(two.to_batches()) == 2
    assert convert(pyarrow.RecordBatch, stream_of(two)).equals(
        pyarrow.concat_batches(two.to_batches())
    )
    none = convert(pyarrow.RecordBatch, stream_of(TABLE.slice(0, 0)))
    assert (none.num_rows, none.schema) == (0, TABLE.schema)


@pytest.mark.parametrize("value", [7, None, [1], "text", b"no stream"])
def test_what_is_no_stream_does_not_fit_a_hint(value: Any) -> None:
    with pytest.raises(MismatchError, match=r"Arrow"):
        convert(pyarrow.Table, value)


# With a host.

ADAPTER = '''
import gc
import pyarrow
import snakepit

kept = []


def places(table):
    """Whether all of it lies in memory that is shared."""
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps if "memfd" in line]
    ranges = [[int(part, 16) for part in line[0].split("-")] for line in lines]
    parts = [part for column in table.columns for part in column.chunk(0).buffers() if part]
    return all(any(a <= part.address < b for a, b in ranges) for part in parts)

@snakepit.tool
def look(x):
    return [type(x).__name__, x.num_rows, places(x)]

@snakepit.tool
def look_deep(x):
    return look(x["rows"][0])

@snakepit.tool
def as_table(x: pyarrow.Table):
    return look(x)

@snakepit.tool
def as_buffer(x: snakepit.Buffer):
    return [type(x).__name__, x.nbytes, x.readonly]

@snakepit.tool
def keep(x):
    kept.append(x["x"].slice(5, 10))

@snakepit.tool
def first():
    return kept[0].to_pylist()

@snakepit.tool
def drop():
    kept.clear()
    gc.collect()

@snakepit.tool
def make(count):
    table = pyarrow.table({"x": range(count)})
    return {"one": table, "two": [table.slice(0, 3), table.to_batches()[0]]}

@snakepit.tool
def many(count, rows):
    return [pyarrow.table({"x": [number] * rows}) for number in range(count)]
'''


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    path = tmp_path / "arrow_adapter.py"
    path.write_text(ADAPTER)
    host = FakeHost(path)
    yield host
    host.kill()


LARGE = pyarrow.table({"x": range(20_000), "y": ["text"] * 20_000})


def send(host: FakeHost, command: str, wrap: Callable[[Any], Any] = lambda x: x) -> int:
    """Calls a tool with a table in shared memory."""
    body = shared(0, 2)
    return host.start_with(command, host.payload_of(packed({"x": wrap(body)}), stream_of(LARGE)))


def test_a_table_arrives_over_shared_memory_and_gives_it_back(host: FakeHost) -> None:
    for command in ("look", "as_table"):
        assert host.result(send(host, command)) == ["Table", 20_000, True]
    deep = send(host, "look_deep", lambda x: {"rows": [x]})
    assert host.result(deep) == ["Table", 20_000, True]
    size = len(stream_of(LARGE))
    assert host.result(send(host, "as_buffer")) == ["Buffer", size, True]
    host.settle(lambda: not host.lent)
    assert host.close() == 0


def test_a_column_that_is_kept_keeps_the_memory(host: FakeHost) -> None:
    host.result(send(host, "keep"))
    assert host.result(send(host, "look")) == ["Table", 20_000, True]
    assert host.result(host.start("first")) == list(range(5, 15))
    assert host.lent
    host.result(host.start("drop"))
    host.settle(lambda: not host.lent)


def test_batches_of_a_result_are_written_to_granted_segments(host: FakeHost) -> None:
    result = host.call("make", {"count": 20_000})
    table = pyarrow.table({"x": range(20_000)})
    one, (small, two) = result["one"], result["two"]
    for seen in (one, two):
        assert (seen.kind, seen.data) == (2, stream_of(table))
    assert small.equals(table.slice(0, 3))
    # Many share segments, each at its own place.
    results = host.call("many", {"count": 40, "rows": 10_000})
    for number, seen in enumerate(results):
        assert seen.data == stream_of(pyarrow.table({"x": [number] * 10_000}))
        assert seen.offset % 64 == 0
    assert len({seen.number for seen in results}) <= 8
