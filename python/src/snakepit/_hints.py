"""Looking into type hints.

Owns the questions about a hint's structure that checking and schemas share. Imports neither
`typing` nor the modules of the types it knows: a hint that uses one has loaded it already.
"""

from __future__ import annotations

import sys
from types import UnionType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_LISTS = ("list", "Sequence", "MutableSequence", "Iterable", "Collection")
_DICTS = ("dict", "Mapping", "MutableMapping", "defaultdict", "OrderedDict")


def plain_hint(hint: Any) -> Any:
    """Takes away what says nothing about the value: `Annotated`, `Final`, `NewType`, aliases."""
    while True:
        if hasattr(hint, "__metadata__") or _is_special(hint, ("Required", "NotRequired", "Final")):
            # Annotated[X, ...] has X for its origin, Required[X] for its only argument.
            hint = hint.__origin__ if hasattr(hint, "__metadata__") else hint.__args__[0]
        elif hasattr(hint, "__supertype__"):
            hint = hint.__supertype__
        elif type(hint).__name__ == "TypeAliasType":
            hint = hint.__value__
        elif type(getattr(hint, "__origin__", None)).__name__ == "TypeAliasType":
            hint = _alias_of(hint.__origin__, hint.__args__)
        else:
            return hint


def _alias_of(alias: Any, arguments: tuple[Any, ...]) -> Any:
    """Returns `dict[int, str]` for `Named[str]` after `type Named[T] = dict[int, T]`."""
    value = alias.__value__
    given = dict(zip(alias.__type_params__, arguments, strict=False))
    parameters = getattr(value, "__parameters__", ())
    # An alias of fewer arguments than it takes says nothing about the rest.
    if not parameters or any(parameter not in given for parameter in parameters):
        return value
    return value[tuple(given[parameter] for parameter in parameters)]


def origin_of(hint: Any) -> Any:
    """Returns `list` for `list[int]`; the hint itself where it has no origin."""
    origin = getattr(hint, "__origin__", None)
    return hint if origin is None else origin


def arguments_of(hint: Any) -> tuple[Any, ...]:
    """Returns `(int,)` for `list[int]`."""
    return getattr(hint, "__args__", None) or ()


def is_union(hint: Any) -> bool:
    """Whether it is `X | Y`, `Union[X, Y]` or `Optional[X]`."""
    return isinstance(hint, UnionType) or _is_special(hint, ("Union",))


def is_literal(hint: Any) -> bool:
    """Whether it is `Literal[...]`."""
    return _is_special(hint, ("Literal",))


def is_list_like(origin: Any) -> bool:
    """Whether a list is a value of it."""
    return _is_collection(origin, _LISTS)


def is_dict_like(origin: Any) -> bool:
    """Whether a dict is a value of it."""
    return _is_collection(origin, _DICTS)


def is_typed_dict(hint: Any) -> bool:
    """Whether it is a class made with `TypedDict`."""
    return isinstance(hint, type) and hasattr(hint, "__required_keys__")


def is_tuple(hint: Any) -> bool:
    """Whether it is `tuple` or a class that derives from it."""
    return isinstance(hint, type) and issubclass(hint, tuple)


def is_named_tuple(hint: Any) -> bool:
    """Whether it is a class made with `NamedTuple` or `namedtuple`."""
    return is_tuple(hint) and hasattr(hint, "_fields")


def is_dataclass(hint: Any) -> bool:
    """Whether it is a dataclass."""
    return isinstance(hint, type) and "__dataclass_fields__" in vars(hint)


def is_attrs(hint: Any) -> bool:
    """Whether it is a class made with attrs."""
    return isinstance(hint, type) and hasattr(hint, "__attrs_attrs__")


def is_enum(hint: Any) -> bool:
    """Whether it is an `Enum` class."""
    return is_class(hint, "enum", "Enum")


def is_class(hint: Any, module: str, name: str) -> bool:
    """Whether it is a class of a module, or derives from it, without importing the module."""
    loaded = sys.modules.get(module)
    known = getattr(loaded, name, None) if loaded is not None else None
    return isinstance(hint, type) and isinstance(known, type) and issubclass(hint, known)


def class_hints(owner: type) -> dict[str, Any]:
    """Reads the type hints of a class with fields, inherited ones included."""
    from typing import get_type_hints

    return get_type_hints(owner, include_extras=True)


def describe(hint: Any) -> str:
    """Writes a hint as one would in code."""
    hint = plain_hint(hint)
    if hint is None or hint is type(None):
        return "None"
    if is_union(hint):
        return " | ".join(describe(part) for part in arguments_of(hint))
    if is_literal(hint):
        return " | ".join(repr(value) for value in arguments_of(hint))
    if isinstance(hint, type) and not arguments_of(hint):
        return hint.__qualname__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def _is_special(hint: Any, names: tuple[str, ...]) -> bool:
    typing = sys.modules.get("typing")
    if typing is None:
        return False
    origin = getattr(hint, "__origin__", None)
    return origin is not None and any(origin is getattr(typing, name, None) for name in names)


def _is_collection(origin: Any, names: tuple[str, ...]) -> bool:
    return (
        isinstance(origin, type)
        and origin.__name__ in names
        and origin.__module__ in ("builtins", "collections", "collections.abc")
    )
