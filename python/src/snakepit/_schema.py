"""From type hints to JSON Schema (draft 2020-12).

Owns the schema of every hint whose values can cross. A hint that says nothing to us has the
empty schema, which allows everything.
"""

from __future__ import annotations

import sys

from snakepit import _hints
from snakepit._native import EncodeError, to_json
from snakepit._signature import MISSING, VAR_KEYWORD, VAR_POSITIONAL, Parameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PLAIN: dict[Any, Schema] = {
    None: {"type": "null"},
    type(None): {"type": "null"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    str: {"type": "string"},
    bytes: {"type": "string", "contentEncoding": "base64"},
    bytearray: {"type": "string", "contentEncoding": "base64"},
    list: {"type": "array"},
    dict: {"type": "object"},
    tuple: {"type": "array"},
    set: {"type": "array", "uniqueItems": True},
    frozenset: {"type": "array", "uniqueItems": True},
}

# A datetime is a date, so it comes first.
_FORMATS = (
    ("datetime", "datetime", {"type": "string", "format": "date-time"}),
    ("datetime", "date", {"type": "string", "format": "date"}),
    ("datetime", "time", {"type": "string", "format": "time"}),
    ("datetime", "timedelta", {"type": "number", "description": "seconds"}),
    ("decimal", "Decimal", {"type": "string", "format": "decimal"}),
    ("uuid", "UUID", {"type": "string", "format": "uuid"}),
    ("pathlib", "PurePath", {"type": "string", "format": "path"}),
)

_STREAMS = (
    "Iterator",
    "Iterable",
    "Generator",
    "AsyncIterator",
    "AsyncIterable",
    "AsyncGenerator",
)


def parameters_schema(parameters: list[Parameter], descriptions: dict[str, str]) -> str:
    """Writes the schema of a tool's arguments: one object whose properties are the parameters."""
    builder = _Builder()
    properties: Schema = {}
    required: list[str] = []
    extra: Any = False
    for parameter in parameters:
        schema = builder.schema(parameter.hint)
        if parameter.kind == VAR_KEYWORD:
            extra = schema or True
            continue
        if parameter.kind == VAR_POSITIONAL:
            # It has no name a caller could use.
            continue
        schema = dict(schema)
        description = descriptions.get(parameter.name)
        if description:
            schema["description"] = description
        if parameter.required:
            required.append(parameter.name)
        elif _is_plain(parameter.default):
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    whole: Schema = {"$schema": DIALECT, "type": "object", "properties": properties}
    if required:
        whole["required"] = required
    whole["additionalProperties"] = extra
    return builder.text(whole)


def returns_schema(hint: Any, *, streaming: bool) -> str:
    """Writes the schema of a result, or of one item of a stream; empty if it is not known."""
    if hint is MISSING:
        return ""
    if streaming:
        origin, arguments = _hints.origin_of(hint), _hints.arguments_of(hint)
        if getattr(origin, "__name__", "") not in _STREAMS or not arguments:
            return ""
        hint = arguments[0]
    builder = _Builder()
    schema = builder.schema(hint)
    return builder.text({"$schema": DIALECT, **schema}) if schema else ""


class _Builder:
    """Makes schemas; classes with fields go under `$defs`, so they may contain themselves."""

    def __init__(self) -> None:
        self._names: dict[type, str] = {}
        self._definitions: Schema = {}

    def text(self, schema: Schema) -> str:
        if self._definitions:
            schema = {**schema, "$defs": self._definitions}
        return to_json(schema)

    def schema(self, hint: Any) -> Schema:
        note = _note(hint)
        schema = self._schema(_hints.plain_hint(hint))
        return {**schema, "description": note} if note else schema

    def _schema(self, hint: Any) -> Schema:
        try:
            plain = _PLAIN.get(hint)
        except TypeError:
            plain = None
        if plain is not None:
            return plain
        if _hints.is_union(hint):
            return self._union(_hints.arguments_of(hint))
        if _hints.is_literal(hint):
            values = _hints.arguments_of(hint)
            return {"enum": [getattr(v, "value", v) for v in values]}
        origin, arguments = _hints.origin_of(hint), _hints.arguments_of(hint)
        if _hints.is_list_like(origin):
            return self._array(arguments[:1])
        if _hints.is_dict_like(origin):
            values = self.schema(arguments[1]) if len(arguments) == 2 else {}
            return {"type": "object", **({"additionalProperties": values} if values else {})}
        if not isinstance(origin, type):
            return {}
        return self._class(origin, arguments)

    def _union(self, members: tuple[Any, ...]) -> Schema:
        schemas = [self.schema(member) for member in members]
        if not all(schemas):
            return {}
        if all(schema.keys() == {"type"} for schema in schemas):
            types = [schema["type"] for schema in schemas]
            # Every integer is a number.
            if "number" in types:
                types = [name for name in types if name != "integer"]
            return {"type": types[0] if len(types) == 1 else types}
        return {"anyOf": schemas}

    def _array(self, arguments: tuple[Any, ...]) -> Schema:
        items = self.schema(arguments[0]) if arguments else {}
        return {"type": "array", **({"items": items} if items else {})}

    def _class(self, cls: Any, arguments: tuple[Any, ...]) -> Schema:
        if cls is tuple:
            if len(arguments) == 2 and arguments[1] is Ellipsis:
                return self._array(arguments[:1])
            items = [self.schema(part) for part in arguments if part != ()]
            return {
                "type": "array",
                "prefixItems": items,
                "minItems": len(items),
                "maxItems": len(items),
            }
        if cls in (set, frozenset):
            return {**self._array(arguments[:1]), "uniqueItems": True}
        if _hints.is_enum(cls):
            return {"enum": [member.value for member in cls]}
        for module, name, schema in _FORMATS:
            if _hints.is_class(cls, module, name):
                return schema
        if _hints.is_dataclass(cls):
            return self._definition(cls, _dataclass_fields)
        if _hints.is_attrs(cls):
            return self._definition(cls, _attrs_fields)
        if _hints.is_typed_dict(cls):
            return self._definition(cls, _typed_dict_fields)
        if _hints.is_named_tuple(cls):
            return self._definition(cls, _named_tuple_fields)
        if hasattr(cls, "model_json_schema"):
            return cls.model_json_schema()
        return {}

    def _definition(self, cls: type, fields: Any) -> Schema:
        """Refers to the schema of a class with fields: `(name, hint, default)` of each."""
        name = self._names.get(cls)
        if name is None:
            name = cls.__name__
            while name in self._definitions:
                # Another class of the same name.
                name += "_"
            self._names[cls] = name
            self._definitions[name] = {}
            properties: Schema = {}
            required: list[str] = []
            for field, hint, default in fields(cls):
                schema = dict(self.schema(hint))
                if default is MISSING:
                    required.append(field)
                elif _is_plain(default):
                    schema["default"] = default
                properties[field] = schema
            self._definitions[name] = {
                "type": "object",
                "properties": properties,
                **({"required": required} if required else {}),
                "additionalProperties": False,
            }
        return {"$ref": f"#/$defs/{name}"}


_OMITTED = object()
"""A default that exists but cannot be written."""


def _dataclass_fields(cls: type) -> list[tuple[str, Any, Any]]:
    dataclasses = sys.modules["dataclasses"]
    hints = _hints.class_hints(cls)

    def default(field: Any) -> Any:
        if field.default is not dataclasses.MISSING:
            return field.default
        return MISSING if field.default_factory is dataclasses.MISSING else _OMITTED

    fields = dataclasses.fields(cls)
    return [(f.name, hints.get(f.name), default(f)) for f in fields if f.init]


def _attrs_fields(cls: Any) -> list[tuple[str, Any, Any]]:
    hints = _hints.class_hints(cls)
    # What attrs has made has loaded it. A factory is a default that cannot be written.
    nothing = sys.modules["attr"].NOTHING

    def default(field: Any) -> Any:
        if field.default is nothing:
            return MISSING
        return field.default if _is_plain(field.default) else _OMITTED

    fields = [field for field in cls.__attrs_attrs__ if field.init]
    return [(field.name, hints.get(field.name, MISSING), default(field)) for field in fields]


def _typed_dict_fields(cls: Any) -> list[tuple[str, Any, Any]]:
    hints = _hints.class_hints(cls)
    return [
        (name, hint, MISSING if name in cls.__required_keys__ else _OMITTED)
        for name, hint in hints.items()
    ]


def _named_tuple_fields(cls: Any) -> list[tuple[str, Any, Any]]:
    hints = _hints.class_hints(cls)
    return [(n, hints.get(n, MISSING), cls._field_defaults.get(n, MISSING)) for n in cls._fields]


def _note(hint: Any) -> str | None:
    """Returns the text of `Annotated[X, "text"]`."""
    notes = getattr(hint, "__metadata__", ())
    return next((note for note in notes if isinstance(note, str)), None)


def _is_plain(value: Any) -> bool:
    """Whether a default can be written into a schema."""
    kinds = (type(None), bool, int, float, str, list, tuple, dict)
    if not isinstance(value, kinds) and not _hints.is_enum(type(value)):
        return False
    try:
        to_json(value)
    except EncodeError:
        return False
    return True
