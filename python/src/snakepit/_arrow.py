"""Record batches of Arrow, by way of pyarrow.

Owns what is read from a stream in memory and written to one, and what the hints for pyarrow's
classes make of a value. Imports no pyarrow: it is used where the adapter has loaded it.
"""

from __future__ import annotations

import sys

from snakepit._errors import MismatchError
from snakepit._native import Buffer

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Converter = Callable[[Any], Any]


def table_in(stream: Buffer) -> Any:
    """Returns the `pyarrow.Table` of an IPC stream, whose columns lie in the stream's memory."""
    return _reader_in(stream).read_all()


def table_of(value: Any) -> Any:
    """Returns what gives record batches as a `pyarrow.Table`; `None` if it gives no rows."""
    pyarrow = sys.modules["pyarrow"]
    if isinstance(value, pyarrow.Table):
        return value
    if isinstance(value, pyarrow.RecordBatch):
        return pyarrow.Table.from_batches([value])
    if not isinstance(value, pyarrow.RecordBatchReader):
        try:
            value = pyarrow.RecordBatchReader.from_stream(value)
        except pyarrow.ArrowInvalid:
            # A single column, which has no schema.
            return None
    return value.read_all()


def stream_bytes(table: Any) -> int:
    """Returns the size of a table's IPC stream in bytes; copies nothing for it."""
    counter = sys.modules["pyarrow"].MockOutputStream()
    _write(table, counter)
    return counter.size()


def stream(table: Any) -> Any:
    """Returns a table's IPC stream, in memory of its own."""
    sink = sys.modules["pyarrow"].BufferOutputStream()
    _write(table, sink)
    return sink.getvalue()


def write(table: Any, room: Buffer) -> None:
    """Writes a table's IPC stream to memory that is as large."""
    pyarrow = sys.modules["pyarrow"]
    with pyarrow.FixedSizeBufferWriter(pyarrow.py_buffer(room)) as sink:
        _write(table, sink)


def _write(table: Any, sink: Any) -> None:
    with sys.modules["pyarrow"].ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)


def _reader_in(stream: bytes | Buffer) -> Any:
    pyarrow = sys.modules["pyarrow"]
    return pyarrow.ipc.open_stream(pyarrow.py_buffer(stream))


def _reader(value: Any) -> Any:
    if isinstance(value, sys.modules["pyarrow"].Table):
        return value.to_reader()
    if isinstance(value, bytes | Buffer):
        try:
            return _reader_in(value)
        except sys.modules["pyarrow"].ArrowException as error:
            raise MismatchError(f"expected an Arrow stream: {error}") from None
    name = "None" if value is None else type(value).__name__
    raise MismatchError(f"expected record batches of Arrow, not {name}")


def _table(value: Any) -> Any:
    return _reader(value).read_all()


def _batch(value: Any) -> Any:
    """Makes one batch; several are put together, which copies them."""
    pyarrow = sys.modules["pyarrow"]
    reader = _reader(value)
    batches: list[Any] = list(reader)
    if not batches:
        columns = [pyarrow.array([], field.type) for field in reader.schema]
        return pyarrow.RecordBatch.from_arrays(columns, schema=reader.schema)
    return batches[0] if len(batches) == 1 else pyarrow.concat_batches(batches)


CLASSES: dict[str, Converter] = {
    "Table": _table,
    "RecordBatch": _batch,
    "RecordBatchReader": _reader,
}
