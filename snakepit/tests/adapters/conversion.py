"""Tools for values of every type that can cross: each takes one by its hint and gives it back."""

import dataclasses
import datetime
import decimal
import enum
import math
import pathlib
import random
import struct
import uuid
from collections import namedtuple
from typing import Any, NamedTuple

from snakepit import tool


@tool
def echo(value: object = None) -> object:
    """Gives back what it was given."""
    return value


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass
class Address:
    street: str
    since: datetime.date
    tags: set[str] = dataclasses.field(default_factory=set)
    length: int = dataclasses.field(init=False, default=0)

    def __post_init__(self) -> None:
        self.length = len(self.street)


class Place(NamedTuple):
    name: str
    at: tuple[float, float]


Loose = namedtuple("Loose", ["left", "right"])


def _told(value: object, kind: type) -> list[object]:
    """The name of the type that arrived, which must be the very one, and the value itself."""
    assert type(value) is kind, f"{type(value).__qualname__} is no {kind.__qualname__}"
    return [type(value).__name__, value]


@tool
def take_none(value: None) -> object:
    return _told(value, type(None))


@tool
def take_bool(value: bool) -> object:
    return _told(value, bool)


@tool
def take_int(value: int) -> object:
    return _told(value, int)


@tool
def take_float(value: float) -> object:
    return _told(value, float)


@tool
def take_str(value: str) -> object:
    return _told(value, str)


@tool
def take_bytes(value: bytes) -> object:
    return _told(value, bytes)


@tool
def take_bytearray(value: bytearray) -> object:
    return _told(value, bytearray)


@tool
def take_list(value: list[int]) -> object:
    return _told(value, list)


@tool
def take_tuple(value: tuple[int, str]) -> object:
    return _told(value, tuple)


@tool
def take_set(value: set[int]) -> object:
    return _told(value, set)


@tool
def take_frozenset(value: frozenset[int]) -> object:
    return _told(value, frozenset)


@tool
def take_dict(value: dict[uuid.UUID, int]) -> object:
    assert all(type(key) is uuid.UUID for key in value)
    return _told(value, dict)


@tool
def take_datetime(value: datetime.datetime) -> object:
    return _told(value, datetime.datetime)


@tool
def take_date(value: datetime.date) -> object:
    return _told(value, datetime.date)


@tool
def take_time(value: datetime.time) -> object:
    return _told(value, datetime.time)


@tool
def take_timedelta(value: datetime.timedelta) -> object:
    return _told(value, datetime.timedelta)


@tool
def take_decimal(value: decimal.Decimal) -> object:
    return _told(value, decimal.Decimal)


@tool
def take_uuid(value: uuid.UUID) -> object:
    return _told(value, uuid.UUID)


@tool
def take_path(value: pathlib.PurePosixPath) -> object:
    return _told(value, pathlib.PurePosixPath)


@tool
def take_enum(value: Colour) -> object:
    return _told(value, Colour)


@tool
def take_int_enum(value: Level) -> object:
    return _told(value, Level)


@tool
def take_dataclass(value: Address) -> object:
    assert type(value.since) is datetime.date and type(value.tags) is set
    return _told(value, Address)


@tool
def take_named_tuple(value: Place) -> object:
    assert type(value.at) is tuple
    return _told(value, Place)


class Lossless:
    def __init__(self, plain: object) -> None:
        self.plain = plain

    def to_dict(self) -> object:
        return self.plain


class Generator:
    """Random values of every type, each with the plain form that the table promises."""

    def __init__(self, seed: int, codec: str) -> None:
        self._random = random.Random(seed)
        self._json = codec == "json"

    def value(self, depth: int = 4) -> tuple[object, object]:
        kinds = [*self._scalars(), self._bytes, self._special]
        if depth:
            kinds += [self._list, self._dict, self._set, self._object] * 3
        make = self._random.choice(kinds)
        return make(depth - 1)

    def _scalars(self) -> list[Any]:
        return [self._none, self._bool, self._int, self._float, self._text, self._moment]

    def _none(self, _: int) -> tuple[object, object]:
        return None, None

    def _bool(self, _: int) -> tuple[object, object]:
        value = self._random.random() < 0.5
        return value, value

    def _int(self, _: int) -> tuple[object, object]:
        bits = self._random.choice([3, 7, 8, 16, 31, 32, 63, 64, 65, 127, 128, 129, 500])
        value = self._random.getrandbits(bits) * self._random.choice([1, -1])
        return self._random.choice([(value, value), (Level.HIGH, 2)])

    def _float(self, _: int) -> tuple[object, object]:
        special = [0.0, -0.0, 5e-324, 1.7976931348623157e308, 1e16, 0.1]
        if not self._json:
            special += [math.nan, math.inf, -math.inf]
        (drawn,) = struct.unpack("d", self._random.randbytes(8))
        value = self._random.choice([*special, self._random.uniform(-1e6, 1e6), drawn])
        if self._json and not math.isfinite(value):
            value = 1.5
        return value, value

    def _text(self, _: int) -> tuple[object, object]:
        alphabet = ['"', "\\", "\n", "\0", "\x1f", "ü", "€", "\u2028", "😀", "a", "Z", " ", "/"]
        value = "".join(
            self._random.choices(alphabet, k=self._random.choice([0, 1, 5, 31, 40, 300]))
        )
        return self._random.choice([(value, value), (Colour.RED, "red")])

    def _bytes(self, _: int) -> tuple[object, object]:
        import base64

        data = self._random.randbytes(self._random.choice([0, 1, 2, 3, 31, 300]))
        plain = base64.b64encode(data).decode() if self._json else data
        make = self._random.choice([bytes, bytearray, memoryview])
        return make(data), plain

    def _moment(self, _: int) -> tuple[object, object]:
        pick = self._random
        zone = pick.choice([None, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3.5))])
        moment = datetime.datetime(1970, 1, 1, tzinfo=zone) + datetime.timedelta(
            seconds=pick.randrange(-(10**10), 10**10), microseconds=pick.choice([0, 1, 999_999])
        )
        delta = datetime.timedelta(microseconds=pick.randrange(-(10**15), 10**15))
        number = decimal.Decimal(pick.randrange(10**30)).scaleb(-pick.randrange(40))
        some = uuid.UUID(int=pick.getrandbits(128))
        path = pathlib.PurePosixPath("/a") / f"ü {pick.randrange(9)}"
        return pick.choice(
            [
                (moment, moment.isoformat()),
                (moment.date(), moment.date().isoformat()),
                (moment.timetz(), moment.timetz().isoformat()),
                (delta, delta.total_seconds()),
                (number, str(number)),
                (some, str(some)),
                (path, str(path)),
            ]
        )

    def _special(self, depth: int) -> tuple[object, object]:
        """What libraries bring, where they are installed."""
        made: list[tuple[object, object]] = [(Lossless([1]), [1])]
        try:
            import numpy
        except ImportError:
            pass
        else:
            shape = self._random.choice([(0,), (3,), (2, 2)])
            floats = numpy.full(shape, self._random.uniform(-9, 9))
            number = self._random.randrange(-(2**31), 2**31)
            made += [
                (floats, floats.tolist()),
                (floats.astype(numpy.int32), floats.astype(numpy.int32).tolist()),
                (numpy.int64(number), number),
                (numpy.float32(0.5), 0.5),
                (numpy.float64(0.1), 0.1),
                (numpy.bool_(True), True),
                (numpy.str_("é"), "é"),
                (numpy.array(7), 7),
                (numpy.datetime64("2024-05-06"), "2024-05-06"),
            ]
        return self._random.choice(made)

    def _list(self, depth: int) -> tuple[object, object]:
        parts = [self.value(depth) for _ in range(self._random.choice([0, 1, 2, 5, 17]))]
        make = self._random.choice([list, tuple])
        return make(value for value, _ in parts), [plain for _, plain in parts]

    def _set(self, depth: int) -> tuple[object, object]:
        # One element, because the order of more is the set's own.
        value, plain = self._random.choice(self._scalars())(depth)
        return self._random.choice([set, frozenset])([value]), [plain]

    def _dict(self, depth: int) -> tuple[object, object]:
        made: dict[object, object] = {}
        plain: dict[object, object] = {}
        for _ in range(self._random.choice([0, 1, 2, 5, 17])):
            key, plain_key = self._random.choice(self._scalars())(depth)
            if self._json:
                # JSON knows text keys only.
                key = plain_key = f"k{len(made)}"
            # Nothing equal to another key in either form, and no NaN.
            if plain_key in plain or key in made or key != key:
                continue
            made[key], plain[plain_key] = self.value(depth)
        return made, plain

    def _object(self, depth: int) -> tuple[object, object]:
        value, plain = self.value(depth)
        other, other_plain = self.value(depth)
        day = datetime.date(2024, 5, 6)
        return self._random.choice(
            [
                (Loose(value, other), {"left": plain, "right": other_plain}),
                (
                    Address("road", day),
                    {"street": "road", "since": "2024-05-06", "tags": [], "length": 4},
                ),
                (Lossless({"x": value}), {"x": plain}),
                (Place("here", (1.5, -1.5)), {"name": "here", "at": [1.5, -1.5]}),
            ]
        )


def _same(a: object, b: object) -> bool:
    """Equality that tells `True` from 1 and -0.0 from 0.0, and takes NaN for itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("d", a) == struct.pack("d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return _same([list(entry) for entry in a.items()], [list(entry) for entry in b.items()])
    return a == b


@tool
def make(seed: int, codec: str) -> object:
    """Makes a random value."""
    return Generator(seed, codec).value()[0]


@tool
def judge(seed: int, codec: str, value: object) -> None:
    """Checks that a value which went out and came in again has become its plain form."""
    made, plain = Generator(seed, codec).value()
    assert _same(value, plain), f"{made!r} came back as {value!r}, not {plain!r}"
