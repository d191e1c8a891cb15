"""From type hints to checks of arguments.

Owns what each hint accepts and what it makes of it. A hint whose values cross as themselves
becomes a check that runs natively; only the others cost a Python call per argument. A hint that
says nothing to us accepts everything.
"""

from __future__ import annotations

import sys

from snakepit import _hints, _memory
from snakepit._errors import MismatchError
from snakepit._native import BOOL, BYTES, DICT, FLOAT, INT, LIST, NONE, STR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from snakepit._native import Check

    Converter = Callable[[Any], Any]

ANYTHING = 0

_KINDS: dict[Any, int] = {
    None: NONE,
    type(None): NONE,
    bool: BOOL,
    int: INT,
    # An int is good enough where a float is asked for, as for every type checker.
    float: FLOAT | INT,
    str: STR,
    bytes: BYTES,
    list: LIST,
    dict: DICT,
}

_KIND_OF_TYPE: dict[type, int] = {
    type(None): NONE,
    bool: BOOL,
    int: INT,
    float: FLOAT,
    str: STR,
    bytes: BYTES,
    list: LIST,
    dict: DICT,
}


class Compiler:
    """Makes checks of hints; knows the classes it has met, so they may contain themselves."""

    def __init__(self) -> None:
        self._classes: dict[type, Converter] = {}
        # Those with a field that takes memory.
        self._with_memory: set[type] = set()
        self._takes_memory = False

    def parameter(self, hint: Any) -> Check:
        """Returns the same for a parameter, which may take bytes as they lie in memory."""
        self._takes_memory = False
        check = self.check(hint)
        return ("memory", check) if self._takes_memory else check

    def check(self, hint: Any) -> Check:
        """Returns what the native `Tool` takes as a parameter's check."""
        hint = _hints.plain_hint(hint)
        try:
            kind = _KINDS.get(hint)
        except TypeError:
            kind = None
        if kind is not None:
            return kind
        if _hints.is_union(hint):
            return self._union(_hints.arguments_of(hint))
        if _hints.is_literal(hint):
            return _literal(_hints.arguments_of(hint))
        origin, arguments = _hints.origin_of(hint), _hints.arguments_of(hint)
        if _hints.is_list_like(origin):
            item = self.check(arguments[0]) if arguments else ANYTHING
            return LIST if item == ANYTHING else ("list", item)
        if _hints.is_dict_like(origin):
            key, value = map(self.check, arguments) if len(arguments) == 2 else (0, 0)
            return DICT if key == ANYTHING and value == ANYTHING else ("dict", key, value)
        if not isinstance(origin, type):
            return ANYTHING
        return self._class(origin, arguments)

    def converter(self, hint: Any) -> Converter:
        """Returns the same as a function, for values inside others."""
        return as_function(self.check(hint), hint)

    def _union(self, members: tuple[Any, ...]) -> Check:
        checks = [self.check(member) for member in members]
        if any(check == ANYTHING for check in checks):
            return ANYTHING
        kinds = 0
        others: list[Check] = []
        for check in checks:
            if isinstance(check, int):
                kinds |= check
            else:
                others.append(check)
        if not others:
            return kinds
        if kinds == NONE and len(others) == 1:
            return ("nullable", others[0])
        functions = [
            as_function(check, member)
            for check, member in zip(checks, members, strict=True)
            if not isinstance(check, int)
        ]
        expected = " | ".join(map(_hints.describe, members))

        def convert(value: Any) -> Any:
            # What is a value of a plain member already stays what it is.
            plain = kind_of(value) & kinds
            for function in functions if not plain or plain == STR else ():
                try:
                    return function(value)
                except Exception:
                    # Whatever a model of the user's raises: it is not this member.
                    continue
            if plain:
                return value
            raise MismatchError(f"expected {expected}, not {_name(value)}")

        return convert

    def _class(self, cls: type[Any], arguments: tuple[Any, ...]) -> Check:
        if _hints.is_tuple(cls):
            return self._tuple(cls, arguments)
        if cls in (set, frozenset) or (cls.__name__ in ("Set", "MutableSet") and arguments):
            return self._set(frozenset if cls is frozenset else set, arguments)
        memory = _memory.converter(cls, arguments)
        if memory is not None:
            self._takes_memory = True
            return memory
        if _hints.is_enum(cls):
            return _enum(cls)
        if _hints.is_dataclass(cls):
            return self._fields(cls, lambda: _dataclass_fields(cls))
        if _hints.is_attrs(cls):
            return self._fields(cls, lambda: _attrs_fields(cls))
        if _hints.is_typed_dict(cls):
            return self._fields(cls, lambda: _typed_dict_fields(cls), make=dict)
        if hasattr(cls, "model_validate"):
            return cls.model_validate
        if _hints.is_class(cls, "numpy", "generic"):
            return _parsed(f"a value for {cls.__name__}", BOOL | INT | FLOAT | STR | BYTES, cls)
        return _by_text(cls)

    def _tuple(self, cls: type, arguments: tuple[Any, ...]) -> Check:
        if _hints.is_named_tuple(cls):
            return self._fields(cls, lambda: _named_tuple_fields(cls))
        if not arguments:
            return _converted("a list", LIST, tuple)
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            item = self.converter(arguments[0])

            def convert_all(value: Any) -> Any:
                return tuple(_items(value, item))

            return convert_all
        # tuple[()] is the empty tuple.
        items = [self.converter(part) for part in arguments if part != ()]

        def convert(value: Any) -> Any:
            value = _memory.listed(value)
            _expect(value, LIST, f"a list of {len(items)}")
            if len(value) != len(items):
                raise MismatchError(f"expected {len(items)} items, not {len(value)}")
            return tuple(
                _step(item, part, f"[{index}]")
                for index, (item, part) in enumerate(zip(items, value, strict=True))
            )

        return convert

    def _set(self, make: type, arguments: tuple[Any, ...]) -> Check:
        if not arguments:
            return _converted("a list", LIST, make)
        item = self.converter(arguments[0])

        def convert(value: Any) -> Any:
            return make(_items(value, item))

        return convert

    def _fields(
        self,
        cls: type,
        fields: Callable[[], list[_Field]],
        make: Callable[..., Any] | None = None,
    ) -> Converter:
        """Converts a map to an object with fields."""
        known = self._classes.get(cls)
        if known is not None:
            self._takes_memory = self._takes_memory or cls in self._with_memory
            return known
        convert = _Fields(cls, make or cls)
        self._classes[cls] = convert
        for field in fields():
            convert.add(field, self.converter(field.hint))
        if self._takes_memory:
            self._with_memory.add(cls)
        return convert


class _Field:
    """One field of a class: what it takes, and the argument that sets it."""

    def __init__(self, name: str, hint: Any, required: bool, argument: str | None) -> None:
        self.name = name
        self.hint = hint
        self.required = required
        self.argument = argument
        """None where the class sets it by itself."""


class _Fields:
    """Makes an object with fields from a map."""

    def __init__(self, cls: type, make: Callable[..., Any]) -> None:
        self._name = cls.__qualname__
        self._make = make
        self._converters: dict[str, tuple[Converter, str | None]] = {}
        self._required: set[str] = set()

    def add(self, field: _Field, converter: Converter) -> None:
        self._converters[field.name] = (converter, field.argument)
        if field.required:
            self._required.add(field.name)

    def __call__(self, value: Any) -> Any:
        _expect(value, DICT, f"a map with the fields of {self._name}")
        arguments: dict[str, Any] = {}
        for name, part in value.items():
            known = self._converters.get(name)
            if known is None:
                raise MismatchError(f"{self._name} has no field {name!r}")
            converter, argument = known
            # What the class sets by itself is sent along, and is set again here.
            if argument is not None:
                arguments[argument] = _step(converter, part, f".{name}")
        missing = self._required - value.keys()
        if missing:
            raise MismatchError(f"{self._name} needs {', '.join(sorted(missing))}")
        return self._make(**arguments)


def as_function(check: Check, hint: Any) -> Converter:
    """Turns any check into a function that converts or raises."""
    if isinstance(check, int):
        return _kinds(check, _hints.describe(hint))
    if callable(check):
        return check
    return _container(check, hint)


def _container(spec: tuple[Any, ...], hint: Any) -> Converter:
    """Turns the check of a list, a map or an optional value into a function."""
    kind: str = spec[0]
    parts: tuple[Check, ...] = spec[1:]
    if kind == "nullable":
        inner = as_function(parts[0], hint)
        return lambda value: None if value is None else inner(value)
    arguments = _hints.arguments_of(_hints.plain_hint(hint))
    if _hints.is_union(_hints.plain_hint(hint)):
        arguments = next(
            (_hints.arguments_of(part) for part in arguments if _hints.arguments_of(part)), ()
        )
    functions = [
        as_function(part, argument) for part, argument in zip(parts, arguments, strict=False)
    ]
    if kind == "list":
        return lambda value: list(_items(value, functions[0]))
    key_function, value_function = functions

    def convert(value: Any) -> Any:
        _expect(value, DICT, "a map")
        return {
            _step(key_function, key, f"[key {key!r}]"): _step(value_function, part, f"[{key!r}]")
            for key, part in value.items()
        }

    return convert


def kind_of(value: object) -> int:
    """Returns the kind of a decoded value; 0 if it is no plain one."""
    return _KIND_OF_TYPE.get(type(value), 0)


def _kinds(kinds: int, expected: str) -> Converter:
    def convert(value: Any) -> Any:
        if kinds & LIST:
            value = _memory.listed(value)
        if kinds:
            _expect(value, kinds, expected)
        return value

    return convert


def _converted(expected: str, kinds: int, make: Converter) -> Converter:
    def convert(value: Any) -> Any:
        _expect(value, kinds, expected)
        return make(value)

    return convert


def _literal(values: tuple[Any, ...]) -> Check:
    expected = ", ".join(map(repr, values))
    members = {_identity(value): value for value in values}
    enums = {_identity(value.value): value for value in values if _is_member(value)}

    def convert(value: Any) -> Any:
        try:
            key = _identity(value)
            if key in members:
                return members[key]
            return enums[key]
        except (KeyError, TypeError):
            raise MismatchError(f"expected one of {expected}, not {_short(value)}") from None

    return convert


def _identity(value: object) -> tuple[type, object]:
    # True == 1, but they are not the same value.
    return type(value), value


def _enum(cls: Any) -> Check:
    def convert(value: Any) -> Any:
        try:
            return cls(value)
        except (ValueError, TypeError):
            expected = ", ".join(repr(member.value) for member in cls)
            raise MismatchError(f"expected one of {expected}, not {_short(value)}") from None

    return convert


def _by_text(cls: Any) -> Check:
    """Checks of the classes whose values cross as text or as a number."""
    if _hints.is_class(cls, "datetime", "timedelta"):
        return _converted("a number of seconds", INT | FLOAT, lambda value: cls(seconds=value))
    # A datetime is a date, so it comes first.
    for name in ("datetime", "date", "time"):
        if _hints.is_class(cls, "datetime", name):
            return _parsed(f"a {name} as RFC 3339 text", STR, cls.fromisoformat)
    if _hints.is_class(cls, "decimal", "Decimal"):
        # From a float's shortest text, so that 0.1 is 0.1.
        return _parsed("a decimal as text", STR | INT | FLOAT, lambda value: cls(str(value)))
    if _hints.is_class(cls, "uuid", "UUID"):
        return _parsed("a UUID as text", STR, cls)
    if _hints.is_class(cls, "pathlib", "PurePath"):
        return _parsed("a path as text", STR, cls)
    return ANYTHING


def _parsed(expected: str, kinds: int, parse: Converter) -> Converter:
    def convert(value: Any) -> Any:
        _expect(value, kinds, expected)
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            raise MismatchError(f"expected {expected}, not {_short(value)}") from None

    return convert


def _items(value: Any, item: Converter) -> list[Any]:
    value = _memory.listed(value)
    _expect(value, LIST, "a list")
    return [_step(item, part, f"[{index}]") for index, part in enumerate(value)]


def _step(convert: Converter, value: Any, step: str) -> Any:
    try:
        return convert(value)
    except MismatchError as error:
        raise error.at(step) from None
    except (ValueError, TypeError) as error:
        # From a model of the user's, with an explanation of its own.
        raise MismatchError(str(error), step) from error


def _expect(value: Any, kinds: int, expected: str) -> None:
    if not kind_of(value) & kinds:
        raise MismatchError(f"expected {expected}, not {_name(value)}")


def _name(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _is_member(value: Any) -> bool:
    return _hints.is_enum(type(value))


def _dataclass_fields(cls: type) -> list[_Field]:
    # A dataclass has loaded its module.
    dataclasses = sys.modules["dataclasses"]
    hints = _hints.class_hints(cls)
    missing = dataclasses.MISSING

    def field_of(field: Any) -> _Field:
        required = field.default is missing and field.default_factory is missing
        name = field.name
        return _Field(name, hints.get(name), field.init and required, name if field.init else None)

    return [field_of(field) for field in dataclasses.fields(cls)]


def _attrs_fields(cls: Any) -> list[_Field]:
    # What attrs has made has loaded it.
    nothing = sys.modules["attr"].NOTHING
    hints = _hints.class_hints(cls)
    from typing import Any

    def field_of(field: Any) -> _Field:
        name = field.name
        # The argument of a private field has no underscore.
        argument = field.alias or name.lstrip("_") if field.init else None
        required = field.init and field.default is nothing
        return _Field(name, hints.get(name, Any), required, argument)

    return [field_of(field) for field in cls.__attrs_attrs__]


def _typed_dict_fields(cls: Any) -> list[_Field]:
    hints = _hints.class_hints(cls)
    return [_Field(name, hint, name in cls.__required_keys__, name) for name, hint in hints.items()]


def _named_tuple_fields(cls: Any) -> list[_Field]:
    hints = _hints.class_hints(cls)
    from typing import Any

    return [
        _Field(name, hints.get(name, Any), name not in cls._field_defaults, name)
        for name in cls._fields
    ]
