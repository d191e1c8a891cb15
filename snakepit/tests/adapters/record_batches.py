"""Tools on Arrow's record batches, large and small."""

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow
from snakepit import Buffer, _arrow, context, tool

__thread_safe__ = True

# Appending and clearing are one step each.
_kept: list[Any] = []


def _addresses(table: pyarrow.Table) -> list[int]:
    chunks = (chunk for column in table.columns for chunk in column.chunks)
    return [part.address for chunk in chunks for part in chunk.buffers() if part is not None and part.size]


def _is_shared(address: int) -> bool:
    """Whether an address lies in memory that is mapped from a memfd."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            if start <= address < end:
                return "memfd:" in line
    return False


def _describe(table: pyarrow.Table) -> dict[str, Any]:
    table.validate(full=True)
    return {
        "types": [str(field.type) for field in table.schema],
        "rows": table.num_rows,
        "nulls": sum(column.null_count for column in table.columns),
        "last": table.slice(table.num_rows - 1).to_pylist()[0] if table.num_rows else None,
        "shared": all(map(_is_shared, _addresses(table))),
    }


@tool
def echo(value: Any) -> Any:
    """Gives back what it was given."""
    return value


@tool
def describe(value: Any) -> dict[str, Any]:
    """Says what has arrived without a hint."""
    return {"type": type(value).__name__, **_describe(value)}


@tool
def by_hint(
    table: pyarrow.Table, batch: pyarrow.RecordBatch, reader: pyarrow.RecordBatchReader, stream: Buffer
) -> list[Any]:
    """Says what has arrived of each."""
    again = pyarrow.ipc.open_stream(pyarrow.py_buffer(stream)).read_all()
    classes = (pyarrow.Table, pyarrow.RecordBatch, pyarrow.RecordBatchReader, Buffer)
    fits = [isinstance(*pair) for pair in zip((table, batch, reader, stream), classes, strict=True)]
    tables = [table, pyarrow.Table.from_batches([batch]), reader.read_all(), again]
    return [fits, [table.num_rows for table in tables], [_describe(table)["shared"] for table in tables]]


@dataclass
class Order:
    """Some batches and what they are for."""

    name: str
    tables: list[pyarrow.Table]


@tool
def upper(order: Order) -> dict[str, Any]:
    """Changes what is in a field of a dataclass."""
    first = order.tables[0]
    text = pyarrow.array([text and text.upper() for text in first["text"].to_pylist()], first["text"].type)
    changed = first.set_column(first.schema.get_field_index("text"), "text", text)
    return {"name": order.name, "tables": [changed, *order.tables[1:]]}


@tool
def make(rows: int, kind: str = "table") -> Any:
    """Makes rows, and gives them as whatever exports them."""
    numbers = pyarrow.array(range(rows), "int64")
    table = pyarrow.table({"number": numbers, "text": numbers.cast("string"), "nothing": pyarrow.nulls(rows)})
    return {
        "table": lambda: table,
        "batch": lambda: table.to_batches()[0],
        "reader": lambda: table.to_reader(max_chunksize=max(rows // 4, 1)),
        "foreign": lambda: Foreign(table),
        "sliced": lambda: table.slice(rows // 2, 10),
        "dictionary": lambda: pyarrow.table({"text": table["text"].dictionary_encode()}),
        "bytes": lambda: _arrow.stream(table).to_pybytes(),
        "column": lambda: table["number"],
    }[kind]()


class Foreign:
    """Rows of another library."""

    def __init__(self, table: pyarrow.Table) -> None:
        self._table = table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._table.__arrow_c_stream__(requested_schema)


@tool
def chunks(count: int, rows: int) -> Iterator[Any]:
    """Yields batches."""
    for number in range(count):
        yield pyarrow.record_batch({"number": pyarrow.array([number] * rows)})


@tool
def keep(value: Any) -> None:
    """Holds on to one column of what it was given, after the call."""
    _kept.append(value["number"])


@tool
def kept_sums() -> list[int]:
    """What is held still has."""
    return [sum(column.to_pylist()) for column in _kept]


@tool
def let_go() -> None:
    """Lets go of it."""
    _kept.clear()
    # Without the GIL an object waits for the thread that has made it, or for this.
    gc.collect()


@tool
def ask(name: str, value: Any) -> Any:
    """Has the host work on batches, and gives what that gave."""
    answer = context.call_tool(name, table=value)
    assert isinstance(answer, pyarrow.Table)
    return answer


@tool
def malformed(rows: int) -> Any:
    """Gives what is no stream, in the place of one."""
    write, _arrow.write = _arrow.write, lambda _table, room: memoryview(room).cast("B").__setitem__(0, 7)
    _kept.append(write)
    return make(rows)


@tool
def well_formed() -> None:
    """Undoes it."""
    _arrow.write = _kept.pop()
