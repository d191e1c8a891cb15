"""Arguments are fitted to the parameters, and refused with the parameter's name."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, NewType, Optional, TypedDict, Union

import pytest

from snakepit import ArgumentsError
from snakepit._convert import Compiler
from snakepit._discover import Marked, make_tool
from snakepit._native import Tool, pack, unpack
from snakepit._tool import ToolOptions


def tool_of(function: Any) -> Tool:
    return make_tool(Marked(function.__name__, ToolOptions(None, None)), function, Compiler())


def bound(function: Any, given: Any) -> Any:
    args, kwargs = tool_of(function).bind(unpack(pack(given)))
    return function(*args, **kwargs)


def plain(a: int, b: str = "b", *, c: float = 0.5) -> list[Any]:
    return [a, b, c]


@pytest.mark.parametrize(
    ("given", "result"),
    [
        ({"a": 1}, [1, "b", 0.5]),
        ({"c": 2, "b": "x", "a": 1}, [1, "x", 2]),
        ([1], [1, "b", 0.5]),
        ([1, "x"], [1, "x", 0.5]),
        (7, [7, "b", 0.5]),
    ],
)
def test_maps_give_names_and_lists_give_positions(given: Any, result: Any) -> None:
    assert bound(plain, given) == result


@pytest.mark.parametrize(
    ("given", "parameter", "text"),
    [
        ({}, "a", "missing argument `a`"),
        (None, "a", "missing argument `a`"),
        ({"a": 1, "d": 2}, "d", "unexpected argument `d`"),
        ({"a": 1, "bb": 2}, "bb", "did you mean `b`?"),
        ({"a": "1"}, "a", "argument `a` must be int, not str"),
        ({"a": True}, "a", "argument `a` must be int, not bool"),
        ({"a": 1.0}, "a", "argument `a` must be int, not float"),
        ({"a": None}, "a", "argument `a` must be int, not NoneType"),
        ({"a": 1, "c": "x"}, "c", "argument `c` must be float, not str"),
        ([1, "x", 3], "", "takes 2 arguments, but 3 came by position"),
        ({1: 2}, "", "argument names must be text"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(given: Any, parameter: str, text: str) -> None:
    with pytest.raises(ArgumentsError) as caught:
        bound(plain, given)
    assert caught.value.parameter == parameter
    assert text in str(caught.value)
    assert str(caught.value).startswith("`plain`")


def positional_only(a: int, b: int = 2, /, c: int = 3) -> list[int]:
    return [a, b, c]


def test_positional_only_parameters_can_be_given_by_name() -> None:
    assert bound(positional_only, {"a": 1, "b": 5, "c": 6}) == [1, 5, 6]
    assert bound(positional_only, {"a": 1, "c": 6}) == [1, 2, 6]
    assert bound(positional_only, [1]) == [1, 2, 3]
    with pytest.raises(ArgumentsError, match="missing argument `a`"):
        bound(positional_only, {"b": 1})


def greedy(first: int, *rest: int, **named: str) -> list[Any]:
    return [first, list(rest), named]


def test_extra_arguments_are_checked_too() -> None:
    assert bound(greedy, [1, 2, 3]) == [1, [2, 3], {}]
    assert bound(greedy, {"first": 1, "x": "y"}) == [1, [], {"x": "y"}]
    with pytest.raises(ArgumentsError, match="`rest` must be int"):
        bound(greedy, [1, "2"])
    with pytest.raises(ArgumentsError, match="`x` must be str"):
        bound(greedy, {"first": 1, "x": 2})


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Options(TypedDict, total=False):
    when: datetime.date


@dataclasses.dataclass
class Node:
    name: str
    at: datetime.datetime
    children: list[Node] = dataclasses.field(default_factory=list)


UserId = NewType("UserId", int)
WHEN = datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=datetime.UTC)


@pytest.mark.parametrize(
    ("hint", "given", "result"),
    [
        (Any, [1], [1]),
        (object, [1], [1]),
        (list, [1], [1]),
        (list[int], [1], [1]),
        (list[list[int]], [[1], []], [[1], []]),
        (Sequence[int], [1], [1]),
        (dict[str, float], {"a": 1}, {"a": 1}),
        (Mapping[str, Any], {"a": 1}, {"a": 1}),
        (Optional[int], None, None),
        (Union[int, str], "x", "x"),
        (int | None, 3, 3),
        (bytes, b"x", b"x"),
        (UserId, 3, 3),
        (Annotated[int, "how many"], 3, 3),
        (Literal["a", 1], "a", "a"),
        (Literal[Color.RED], "red", Color.RED),
        (Color, "blue", Color.BLUE),
        (list[Color], ["blue", "red"], [Color.BLUE, Color.RED]),
        (Optional[Color], "blue", Color.BLUE),
        (Optional[Color], None, None),
        (tuple[int, str], [1, "x"], (1, "x")),
        (tuple[int, ...], [1, 2], (1, 2)),
        (tuple, [1, "x"], (1, "x")),
        (set[int], [1, 1], {1}),
        (frozenset[str], ["a"], frozenset({"a"})),
        (bytearray, b"x", bytearray(b"x")),
        (datetime.datetime, "2024-05-06T07:08:09Z", WHEN),
        (datetime.date, "2024-05-06", datetime.date(2024, 5, 6)),
        (datetime.time, "07:08:09", datetime.time(7, 8, 9)),
        (datetime.timedelta, 1.5, datetime.timedelta(seconds=1.5)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (decimal.Decimal, 0.1, decimal.Decimal("0.1")),
        (uuid.UUID, str(uuid.UUID(int=1)), uuid.UUID(int=1)),
        (pathlib.Path, "/a", pathlib.Path("/a")),
        (dict[str, datetime.date], {"a": "2024-05-06"}, {"a": datetime.date(2024, 5, 6)}),
        (dict[uuid.UUID, int], {str(uuid.UUID(int=1)): 2}, {uuid.UUID(int=1): 2}),
        (int | datetime.date, 3, 3),
        (str | datetime.date, "2024-05-06", datetime.date(2024, 5, 6)),
        (str | datetime.date, "soon", "soon"),
        (list[int] | None, [1], [1]),
        (list[datetime.date | None], ["2024-05-06", None], [datetime.date(2024, 5, 6), None]),
        (dict[str, list[Color]], {"a": ["red"]}, {"a": [Color.RED]}),
        (tuple[int | None, list[int]], [None, [1]], (None, [1])),
        (Pair, {"left": 1}, Pair(1)),
        (Options, {"when": "2024-05-06"}, {"when": datetime.date(2024, 5, 6)}),
        (Options, {}, {}),
        (
            Node,
            {
                "name": "a",
                "at": WHEN.isoformat(),
                "children": [{"name": "b", "at": WHEN.isoformat()}],
            },
            Node("a", WHEN, [Node("b", WHEN)]),
        ),
    ],
)
def test_hints_decide_what_the_tool_is_given(hint: Any, given: Any, result: Any) -> None:
    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": hint}
    value = bound(function, {"value": given})
    assert value == result
    assert type(value) is type(result)


@pytest.mark.parametrize(
    ("hint", "given", "text"),
    [
        (list[int], [1, "x"], "argument `value` must be list[int], but there is str at [1]"),
        (list[list[int]], [[1], [True]], "there is bool at [1][0]"),
        (dict[str, int], {"a": "x"}, "there is str at ['a']"),
        (dict[str, int], {1: 1}, "there is int at key [1]"),
        (list[int] | None, {}, "must be list[int] | None, not dict"),
        (Color, "green", "expected one of 'red', 'blue', not 'green'"),
        (list[Color], ["red", "green"], "at [1]: expected one of"),
        (Literal["a", 1], True, "expected one of 'a', 1, not True"),
        (Literal["a"], ["a"], "expected one of 'a'"),
        (tuple[int, str], [1], "expected 2 items, not 1"),
        (tuple[int, str], [1, 2], "[1]: expected str, not int"),
        (datetime.datetime, "tomorrow", "a datetime as RFC 3339 text, not 'tomorrow'"),
        (datetime.date, 5, "expected a date as RFC 3339 text, not int"),
        (decimal.Decimal, "1,5", "a decimal as text"),
        (uuid.UUID, "x", "a UUID as text"),
        (set[int], ["x"], "[0]: expected int, not str"),
        (int | datetime.date, "soon", "expected int | date, not str"),
        (Node, {"name": "a"}, "Node needs at"),
        (Node, {"name": "a", "at": WHEN.isoformat(), "x": 1}, "Node has no field 'x'"),
        (
            Node,
            {"name": "a", "at": WHEN.isoformat(), "children": [{"name": 1, "at": ""}]},
            "at .children[0].name: expected str, not int",
        ),
        (set[list[int]], [[1]], "unhashable"),
    ],
)
def test_a_mismatch_inside_a_value_says_where(hint: Any, given: Any, text: str) -> None:
    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": hint}
    with pytest.raises(ArgumentsError) as caught:
        bound(function, {"value": given})
    assert text in str(caught.value)
    assert caught.value.parameter == "value"


def test_a_model_of_the_users_own_validates_itself() -> None:
    class Model:
        @classmethod
        def model_validate(cls, value: Any) -> Any:
            if value != {"ok": True}:
                raise ValueError("not ok")
            return cls()

    def function(value: Any) -> str:
        return type(value).__name__

    function.__annotations__ = {"value": Model}
    assert bound(function, {"value": {"ok": True}}) == "Model"
    with pytest.raises(ArgumentsError, match="not ok"):
        bound(function, {"value": {}})
