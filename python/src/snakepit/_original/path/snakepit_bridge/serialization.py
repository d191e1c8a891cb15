"""Values as text, by the original's names.

Owns the JSON form of values in the original's manner. Results and arguments need none of it: they
cross by themselves, converted natively.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

__all__ = [
    "BINARY_THRESHOLD",
    "REPR_KEY",
    "TYPE_KEY",
    "UNSERIALIZABLE_KEY",
    "AnyValue",
    "GracefulJSONEncoder",
    "TypeSerializer",
]

BINARY_THRESHOLD = 10_240
"""Sizes in bytes above which the original sent numbers apart from their description."""

UNSERIALIZABLE_KEY = "__ffi_unserializable__"
TYPE_KEY = "__type__"
REPR_KEY = "__repr__"

_PREFIX = "type.googleapis.com/snakepit."

_CONVERSIONS = ("model_dump", "to_dict", "_asdict", "tolist", "isoformat")

_NOT_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


class GracefulJSONEncoder(json.JSONEncoder):
    """Converts what has a conversion method, and puts a marker in place of all else."""

    def default(self, o: Any) -> Any:
        """Returns what is written in place of an object."""
        for name in _CONVERSIONS:
            method = getattr(o, name, None)
            if callable(method) and not isinstance(o, type):
                return method()
        cls = o if isinstance(o, type) else type(o)
        return {UNSERIALIZABLE_KEY: True, TYPE_KEY: f"{cls.__module__}.{cls.__qualname__}"}


@dataclass
class AnyValue:
    """A value as text, with its type; in the place of protobuf's `Any`.

    Attributes:
        type_url: The type.
        value: JSON text in UTF-8.
    """

    type_url: str = ""
    value: bytes = b""


class TypeSerializer:
    """Values as text and back, by the original's type names."""

    @staticmethod
    def encode_any(value: Any, var_type: str) -> tuple[AnyValue, bytes | None]:
        """Writes a value.

        Args:
            value: The value.
            var_type: `float`, `integer`, `string`, `boolean`, `choice`, `module`, `embedding`,
                `tensor`, or any other for a value that is written as it is.

        Returns:
            The text, and nothing: there is no need to send numbers apart.

        Raises:
            ValueError: If the value is not of the type.
        """
        plain = _normalized(value, var_type)
        if isinstance(plain, float) and not isfinite(plain):
            plain = "NaN" if isnan(plain) else "Infinity" if plain > 0 else "-Infinity"
        text = json.dumps(plain, cls=GracefulJSONEncoder)
        return AnyValue(_PREFIX + var_type, text.encode()), None

    @staticmethod
    def decode_any(any_msg: AnyValue, binary_data: bytes | None = None) -> Any:
        """Reads a value.

        Args:
            any_msg: What `encode_any` has returned, or anything with a `type_url` and a `value`.
            binary_data: Must be none: what the original packs there is a pickle, and not read.

        Raises:
            ValueError: If it is not.
        """
        if binary_data is not None:
            raise ValueError("binary values are not unpickled here: pass bytes as they are")
        var_type = any_msg.type_url.rpartition("/")[2].rpartition(".")[2]
        value = json.loads(any_msg.value)
        if var_type == "float":
            return _NOT_FINITE[value] if value in _NOT_FINITE else float(value)
        return int(value) if var_type == "integer" else value


def _normalized(value: Any, var_type: str) -> Any:
    if var_type in ("string", "choice", "module"):
        return str(value)
    if var_type == "boolean":
        return _require(value, isinstance(value, bool), var_type)
    if var_type == "float":
        return float(_require(value, _is_number(value), var_type))
    if var_type == "integer":
        whole = _is_number(value) and isfinite(value) and value == int(value)
        return int(_require(value, whole, var_type))
    if var_type == "embedding":
        items = value.tolist() if hasattr(value, "tolist") else value
        return [float(item) for item in _require(items, isinstance(items, list), var_type)]
    if var_type == "tensor" and hasattr(value, "tolist"):
        return {"shape": list(value.shape), "data": value.tolist()}
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _require(value: Any, holds: bool, var_type: str) -> Any:
    if not holds:
        raise ValueError(f"expected {var_type}, got {type(value).__name__}")
    return value
