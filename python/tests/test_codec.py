"""Values survive the way out and back, and those that cannot say why."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import struct
import types
import uuid
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from snakepit import DecodeError, EncodeError, Marker
from snakepit._native import from_json, pack, to_json, unpack

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary()
KEYS = st.none() | st.booleans() | st.integers() | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=40
)


def same(a: Any, b: Any) -> bool:
    """Equality that tells True from 1 and takes NaN for itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return same([list(pair) for pair in a.items()], [list(pair) for pair in b.items()])
    return a == b


@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@given(st.binary(max_size=64))
def test_any_bytes_are_a_value_or_an_error(data: bytes) -> None:
    try:
        value = unpack(data)
    except DecodeError:
        return
    unpack(pack(value))


@given(st.binary(max_size=64))
def test_a_value_cut_short_is_an_error(data: bytes) -> None:
    packed = pack({"data": data, "more": [1, "two", 3.0]})
    for end in range(len(packed)):
        with pytest.raises(DecodeError):
            unpack(packed[:end])


@pytest.mark.parametrize(
    ("value", "packed"),
    [
        (None, "c0"),
        (True, "c3"),
        (127, "7f"),
        (128, "cc80"),
        (-32, "e0"),
        (-33, "d0df"),
        (65536, "ce00010000"),
        (2**64 - 1, "cfffffffffffffffff"),
        (-(2**63), "d38000000000000000"),
        (1.5, "cb3ff8000000000000"),
        ("é", "a2c3a9"),
        (b"\x00", "c40100"),
        ([1, [2]], "92019102"),
        ({"a": {1: None}}, "81a16181" + "01c0"),
        # Beyond 64 bits: extension 1, two's complement, shortest form.
        (2**64, "c70901010000000000000000"),
        (-(2**63) - 1, "c70901ff7fffffffffffffff"),
    ],
)
def test_the_wire_form_is_the_documented_one(value: Any, packed: str) -> None:
    assert pack(value).hex() == packed
    assert same(unpack(bytes.fromhex(packed)), value)


@given(st.integers(min_value=-(2**300), max_value=2**300))
def test_big_integers_take_the_shortest_form(value: int) -> None:
    packed = pack(value)
    assert unpack(packed) == value
    if not -(2**63) <= value < 2**64:
        data = value.to_bytes(64, "big", signed=True)
        shortest = next(
            data[i:]
            for i in range(63, -1, -1)
            if int.from_bytes(data[i:], "big", signed=True) == value
        )
        assert packed.endswith(shortest)
        assert packed[-len(shortest) - 1] == 1


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Pair(NamedTuple):
    left: int
    right: str


@dataclasses.dataclass
class Point:
    x: int
    y: list[int]
    tag: dataclasses.InitVar[int] = 0


class Model:
    def model_dump(self) -> dict[str, int]:
        return {"dumped": 1}

    def to_dict(self) -> dict[str, int]:
        raise AssertionError("model_dump comes first")


class Listed:
    def tolist(self) -> list[int]:
        return [1, 2]


class Text(str):
    __slots__ = ()


UTC = datetime.UTC


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ((1, 2), [1, 2]),
        ({1}, [1]),
        (frozenset({1}), [1]),
        (bytearray(b"x"), b"x"),
        (memoryview(b"xy")[1:], b"y"),
        (Color.RED, "red"),
        (Level.HIGH, 3),
        (Text("x"), "x"),
        (Pair(1, "r"), {"left": 1, "right": "r"}),
        (Point(1, [2]), {"x": 1, "y": [2]}),
        (Model(), {"dumped": 1}),
        (Listed(), [1, 2]),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.Counter("a"), {"a": 1}),
        (datetime.datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), "2024-05-06T07:08:09+00:00"),
        (datetime.date(2024, 5, 6), "2024-05-06"),
        (datetime.time(7, 8), "07:08:00"),
        (datetime.timedelta(minutes=1.5), 90.0),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (pathlib.PurePosixPath("/a/b"), "/a/b"),
        ({Color.RED: 1, datetime.date(2024, 5, 6): 2}, {"red": 1, "2024-05-06": 2}),
    ],
)
def test_other_values_take_their_plain_form(value: Any, plain: Any) -> None:
    assert same(unpack(pack(value)), plain)


def test_what_has_no_plain_form_becomes_a_marker() -> None:
    marker = unpack(pack({"f": object()}))["f"]
    assert marker.type == "object"
    assert marker.repr.startswith("<object object at")
    assert unpack(pack(marker)) == marker == Marker(marker.type, marker.repr)


def test_a_marker_is_short_and_keeps_secrets() -> None:
    class Connection:
        def __repr__(self) -> str:
            return f"Connection(user='me', password='hunter2', api_key=abc, x={'y' * 500})"

    marker = unpack(pack(Connection()))
    assert "hunter2" not in marker.repr
    assert "abc" not in marker.repr
    assert "user='me', password=***, api_key=***, x=yyy" in marker.repr
    assert len(marker.repr) <= 220


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("C(password='a\\'b, c', x=1)", "C(password=***, x=1)"),
        ("C(tokens=['a', 'b'], x=1)", "C(tokens=***, x=1)"),
        ("C(secret=SecretStr('a', 'b'))", "C(secret=***)"),
        ("{'Authorization': 'Bearer abc'}", "{'Authorization': ***}"),
        ("Authorization: Bearer abc x", "Authorization: *** x"),
        ("<a api-key=abc>", "<a api-key=***"),
        ("db('postgres://me:hunter2@host/x')", "db('postgres://me:***@host/x')"),
        ("https://host/a:b@c", "https://host/a:b@c"),
        ("C(passwd=b'abc')", "C(passwd=***)"),
        ("C(nothing=1)", "C(nothing=1)"),
    ],
)
def test_secrets_are_hidden_whatever_form_they_have(text: str, shown: str) -> None:
    class Shown:
        def __repr__(self) -> str:
            return text

    assert unpack(pack(Shown())).repr == shown


def test_a_repr_that_raises_is_no_obstacle() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    assert unpack(pack(Broken())).repr == "<repr failed>"


class Huge:
    size = 1_000_001

    def tolist(self) -> list[int]:
        raise AssertionError("must not be asked")


class Raising:
    def to_dict(self) -> dict[str, int]:
        raise RuntimeError("not today")


def itself() -> Any:
    a: list[Any] = []
    a.append(a)
    return a


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "where", "what"),
    [
        ({"a": [0, {"b": Huge()}]}, "value['a'][1]['b']", "1000001 elements"),
        ([Raising()], "value[0]", "RuntimeError: not today"),
        (Point(1, itself()), "value.y[0]", "contains itself"),
        ({(1, 2): 3}, "value", "a map key must be a scalar, not `tuple`"),
        (["\ud800"], "value[0]", "surrogates"),
        (deep(300), "value[0]", "nested deeper than 256 levels"),
    ],
)
def test_what_cannot_be_encoded_says_where_and_why(value: Any, where: str, what: str) -> None:
    with pytest.raises(EncodeError) as caught:
        pack(value)
    assert where in str(caught.value)
    assert what in str(caught.value)


def test_a_value_that_occurs_twice_is_no_cycle() -> None:
    part = [1]
    assert unpack(pack([part, part, {"p": part}])) == [[1], [1], {"p": [1]}]


def test_an_object_that_converts_to_its_own_kind_becomes_a_marker() -> None:
    class Stubborn:
        def tolist(self) -> Any:
            return Stubborn()

    assert isinstance(unpack(pack(Stubborn())), Marker)


def test_a_container_that_changes_while_it_is_encoded_stays_whole() -> None:
    class Sneaky:
        def to_dict(self) -> dict[str, int]:
            victim.clear()
            items.append(2)
            return {}

    victim: dict[str, Any] = {"a": Sneaky(), "b": 1}
    items: list[Any] = [1]
    assert unpack(pack([victim, items])) == [{"a": {}, "b": 1}, [1, 2]]


@pytest.mark.parametrize(
    "data",
    [
        "",
        "c1",
        "dd7fffffff",
        "c67fffffff",
        "df7fffffff",
        "8191c0c0",
        "a1ff",
        "d4ff00",
        "d40300",
        "91" * 300 + "c0",
        "c0c0",
        "d40280",
    ],
)
def test_bytes_that_are_no_value_are_refused(data: str) -> None:
    with pytest.raises(DecodeError):
        unpack(bytes.fromhex(data))


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


@given(st.integers())
def test_json_keeps_integers_of_any_width(value: int) -> None:
    assert same(from_json(f" [ {value} , {value * 10**40}]"), [value, value * 10**40])


@given(JSON_VALUES)
def test_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    import json

    for text in (json.dumps(value), json.dumps(value, ensure_ascii=False, indent=1)):
        assert same(from_json(text), json.loads(text))


@given(st.text(alphabet='[]{}",:\\u0dD8e-+. 1tfn', max_size=16))
def test_text_is_json_where_the_standard_library_says_so(text: str) -> None:
    import json

    try:
        expected = json.loads(text)
        # Half a character, or a number that is none.
        json.dumps(expected, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        with pytest.raises(DecodeError):
            from_json(text)
    else:
        assert same(from_json(text), expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "[1,]",
        "{",
        '{"a"}',
        "{1: 2}",
        "01",
        "-",
        "1.",
        "1e",
        "+1",
        "nul",
        '"',
        '"\\x"',
        '"\\ud800"',
        '"\\ud800\\u0041"',
        '"a\nb"',
        "1 2",
        "1e999",
        "NaN",
        "[" * 300,
        "\ufeff1",
    ],
)
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        from_json(text)


@given(JSON_VALUES)
def test_json_values_come_back_as_they_were(value: Any) -> None:
    assert same(from_json(to_json(value)), value)


def test_json_is_what_the_standard_library_reads() -> None:
    import json

    value = {"a": [1, 2.5, 'x\n"', None, True], 1: b"\0", None: (), 2.5: {}, b"k": 2**70}
    assert json.loads(to_json(value)) == {
        "a": [1, 2.5, 'x\n"', None, True],
        "1": "AA==",
        "null": [],
        "2.5": {},
        "aw==": 2**70,
    }


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_form_for_what_is_not_a_number(value: float) -> None:
    with pytest.raises(EncodeError, match=r"value\[0\]"):
        to_json([value])


def test_types_are_told_apart_by_what_they_are_not_by_their_name() -> None:
    class datetime:  # noqa: N801
        pass

    assert isinstance(unpack(pack(datetime())), Marker)
    assert isinstance(unpack(pack(types)), Marker)
