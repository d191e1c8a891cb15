"""The table of every type in `proto/README.md` is true, line by line, in both codecs."""

from __future__ import annotations

import base64
import dataclasses
import enum
import math
from array import array
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from mmap import mmap
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypedDict, TypeVar
from uuid import UUID

import attrs
import numpy
import pyarrow
import pydantic
import pytest

from snakepit import Marker, _arrow
from snakepit._convert import Compiler, as_function
from snakepit._native import from_json, pack, to_json, unpack
from snakepit._schema import returns_schema


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 2


@dataclasses.dataclass
class Point:
    x: int
    tags: set[int]


class Pair(NamedTuple):
    left: int
    right: str


class Entry(TypedDict):
    at: int


@attrs.define
class Part:
    name: str
    _count: int = 0


class Model(pydantic.BaseModel):
    name: str
    day: date


class HasToDict:
    def to_dict(self) -> dict[str, str]:
        return {"by": "to_dict"}

    def tolist(self) -> list[int]:
        raise AssertionError("to_dict comes first")


class NothingPlain:
    def __repr__(self) -> str:
        return "NothingPlain(password='hunter2')"


NothingPlain.__module__ = "builtins"

NAMES: dict[str, Any] = {
    **globals(),
    "PurePosixPath": PurePosixPath,
    "array": array,
    "mmap": mmap,
    "time": time,
    "timedelta": timedelta,
    "datetime": datetime,
    "UTC": UTC,
    "Decimal": Decimal,
    "UUID": UUID,
    "Marker": Marker,
    "numpy": numpy,
    "pyarrow": pyarrow,
}


def rows(columns: int = 3) -> list[Any]:
    text = (Path(__file__).parents[2] / "proto" / "README.md").read_text(encoding="utf-8")
    table = text.split("### Every type of Python's")[1].split("\n|---|---|---|---|\n")[1]
    lines = table.split("\n\n")[0].splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [pytest.param(*row[1 : columns + 1], id=row[0]) for row in cells]


def evaluate(cell: str) -> Any:
    return eval(cell.strip("`"), NAMES)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, numpy.ndarray):
        return isinstance(b, numpy.ndarray) and a.dtype == b.dtype and bool((a == b).all())
    return type(a) is type(b) and bool(a == b)


def test_the_table_has_its_lines() -> None:
    assert len(rows()) == 37


@pytest.mark.parametrize(("example", "plain", "back"), rows())
def test_a_value_takes_its_plain_form_and_comes_back_by_its_hint(
    example: str, plain: str, back: str
) -> None:
    value, form = evaluate(example), evaluate(plain)
    crossed = unpack(pack(value))
    assert same(crossed, form)
    assert back in ("yes", "no")
    hint = hint_of(value)
    returned = as_function(Compiler().check(hint), hint)(crossed)
    assert same(returned, value) is (back == "yes")


@pytest.mark.parametrize(("example", "plain"), rows(2))
def test_json_has_the_same_form_where_it_has_one(example: str, plain: str) -> None:
    value, form = evaluate(example), evaluate(plain)
    if isinstance(form, Marker):
        form = {"__snakepit_marker__": form.type, "repr": form.repr}
    if isinstance(form, bytes):
        form = base64.b64encode(form).decode()
    if isinstance(form, pyarrow.Table):
        form = base64.b64encode(_arrow.stream(form)).decode()
    if isinstance(form, numpy.ndarray):
        form = form.tolist()
    if isinstance(form, float) and not math.isfinite(form):
        with pytest.raises(ValueError, match="JSON has no form"):
            to_json(value)
        return
    if isinstance(form, dict) and not all(isinstance(key, str) for key in form):
        form = {"1": "a", "null": 2, "2.5": "Yg=="}
    assert same(from_json(to_json(value)), form)


def hint_of(value: Any) -> Any:
    """The hint that a tool would have for such a value."""
    if isinstance(value, dict):
        return Entry if "at" in value else dict[Any, Any]
    hints: dict[type, Any] = {
        tuple: tuple[int, str],
        set: set[int],
        frozenset: frozenset[int],
        type(None): None,
    }
    return hints.get(type(value), type(value))


def test_an_array_has_the_element_type_of_its_hint() -> None:
    from numpy.typing import NDArray

    array = Compiler().converter(NDArray[numpy.float32])([1, 2])
    assert (array.dtype, array.tolist()) == (numpy.dtype("float32"), [1.0, 2.0])


def test_a_generic_alias_is_what_it_stands_for() -> None:
    from typing_extensions import TypeAliasType

    left, right = TypeVar("left"), TypeVar("right")
    swapped = TypeAliasType("swapped", dict[right, list[left]], type_params=(left, right))
    convert = Compiler().converter(swapped[UUID, int])
    assert convert({1: [str(UUID(int=1))]}) == {1: [UUID(int=1)]}
    with pytest.raises(ValueError, match="expected"):
        convert({"a": []})


def test_fields_that_a_class_sets_by_itself_are_passed_over() -> None:
    @dataclasses.dataclass
    class Square:
        side: int
        area: int = dataclasses.field(init=False)

        def __post_init__(self) -> None:
            self.area = self.side**2

    sent = unpack(pack(Square(3)))
    assert sent == {"side": 3, "area": 9}
    convert = Compiler().converter(Square)
    assert convert(sent) == convert({"side": 3}) == Square(3)


def test_an_attrs_class_has_a_schema_and_says_what_it_lacks() -> None:
    schema = from_json(returns_schema(Part, streaming=False))["$defs"]["Part"]
    assert schema["properties"] == {
        "name": {"type": "string"},
        "_count": {"type": "integer", "default": 0},
    }
    assert schema["required"] == ["name"]
    convert = Compiler().converter(Part)
    assert convert({"name": "a"}) == Part("a")
    with pytest.raises(ValueError, match="Part needs name"):
        convert({"_count": 1})
    with pytest.raises(ValueError, match="expected int, not str"):
        convert({"name": "a", "_count": "b"})
