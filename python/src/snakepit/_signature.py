"""A function's parameters and type hints.

Owns reading them without `inspect` and `typing` for ordinary functions, because importing those
costs a worker more than everything else at its start. Judges no hint.
"""

from __future__ import annotations

import sys
from types import FunctionType, MethodType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType
    from typing import Any

# As in inspect.Parameter.kind.
POSITIONAL_ONLY = 0
POSITIONAL_OR_KEYWORD = 1
VAR_POSITIONAL = 2
KEYWORD_ONLY = 3
VAR_KEYWORD = 4

_CO_VARARGS = 0x04
_CO_VARKEYWORDS = 0x08
_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80
_CO_ITERABLE_COROUTINE = 0x100
_CO_ASYNC_GENERATOR = 0x200


class _Missing:
    def __repr__(self) -> str:
        return "<missing>"


MISSING = _Missing()
"""Stands for a hint or default that is not there."""


class Parameter:
    """One parameter of a function."""

    __slots__ = ("default", "hint", "kind", "name")

    def __init__(self, name: str, kind: int, default: Any, hint: Any) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.hint = hint

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        return self.default is MISSING and self.kind not in (VAR_POSITIONAL, VAR_KEYWORD)


def parameters_of(function: Callable[..., Any], hints: dict[str, Any]) -> list[Parameter]:
    """Reads the parameters a caller has to give, so without a method's `self`."""
    plain, skip = function, 0
    if isinstance(plain, MethodType):
        plain, skip = plain.__func__, 1
    if not isinstance(plain, FunctionType) or _is_disguised(plain):
        return _inspected(function, hints)
    code = plain.__code__
    names = code.co_varnames
    positional = code.co_argcount
    keyword_only_end = positional + code.co_kwonlyargcount
    defaults = plain.__defaults__ or ()
    keyword_defaults = plain.__kwdefaults__ or {}
    first_default = positional - len(defaults)
    if skip > positional:
        # `def method(*args)`: self is one of them.
        return _inspected(function, hints)
    parameters: list[Parameter] = []

    def add(name: str, kind: int, default: Any) -> None:
        parameters.append(Parameter(name, kind, default, hints.get(name, MISSING)))

    for index in range(skip, positional):
        kind = POSITIONAL_ONLY if index < code.co_posonlyargcount else POSITIONAL_OR_KEYWORD
        default = defaults[index - first_default] if index >= first_default else MISSING
        add(names[index], kind, default)
    extra = keyword_only_end
    if code.co_flags & _CO_VARARGS:
        add(names[extra], VAR_POSITIONAL, MISSING)
        extra += 1
    for index in range(positional, keyword_only_end):
        add(names[index], KEYWORD_ONLY, keyword_defaults.get(names[index], MISSING))
    if code.co_flags & _CO_VARKEYWORDS:
        add(names[extra], VAR_KEYWORD, MISSING)
    return parameters


def hints_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Reads the type hints by parameter name, the result's under `return`."""
    plain: Any = function.__func__ if isinstance(function, MethodType) else function
    if not isinstance(plain, FunctionType):
        plain = getattr(plain, "func", None) or _call_of(plain)
    hints: dict[str, Any] = getattr(plain, "__annotations__", None) or {}
    if not any(isinstance(hint, str) for hint in hints.values()) and not _has_forward_parts(hints):
        return hints
    from typing import get_type_hints

    try:
        return get_type_hints(plain, include_extras=True)
    except NameError:
        return _resolvable(plain, hints)


def kind_of(function: Callable[..., Any]) -> str:
    """Says what calling a function gives, in the words of the native `Tool`."""
    flags = 0
    seen: Any = function
    while seen is not None:
        code = _code_of(seen)
        flags |= 0 if code is None else code.co_flags
        # A wrapper that is no generator itself hands on what the wrapped function makes.
        special = _CO_GENERATOR | _CO_COROUTINE | _CO_ITERABLE_COROUTINE | _CO_ASYNC_GENERATOR
        if flags & special:
            break
        seen = getattr(seen, "__wrapped__", None) or getattr(seen, "func", None)
    if flags & _CO_ASYNC_GENERATOR:
        return "async_generator"
    if flags & (_CO_COROUTINE | _CO_ITERABLE_COROUTINE):
        return "coroutine"
    return "generator" if flags & _CO_GENERATOR else "function"


def _code_of(function: Any) -> CodeType | None:
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType):
        function = _call_of(function)
    return getattr(function, "__code__", None)


def _call_of(instance: object) -> Any:
    """Returns what runs when an object that is no function is called."""
    return getattr(type(instance), "__call__", None)  # noqa: B004


def _is_disguised(function: FunctionType) -> bool:
    return hasattr(function, "__wrapped__") or hasattr(function, "__signature__")


def _inspected(function: Callable[..., Any], hints: dict[str, Any]) -> list[Parameter]:
    import inspect

    return [
        Parameter(
            parameter.name,
            int(parameter.kind),
            MISSING if parameter.default is parameter.empty else parameter.default,
            hints.get(parameter.name, MISSING),
        )
        for parameter in inspect.signature(function).parameters.values()
    ]


def _resolvable(function: Any, hints: dict[str, Any]) -> dict[str, Any]:
    """Reads the hints one by one, without those whose names exist for type checkers only."""
    from typing import get_type_hints

    resolved: dict[str, Any] = {}
    for name, hint in hints.items():

        def single() -> None: ...

        single.__annotations__ = {name: hint}
        try:
            resolved |= get_type_hints(single, function.__globals__, include_extras=True)
        except NameError:
            continue
    return resolved


def _has_forward_parts(hints: dict[str, Any]) -> bool:
    """Whether a hint such as `list["Node"]` has a name inside that must be looked up."""
    typing = sys.modules.get("typing")
    forward = () if typing is None else (str, typing.ForwardRef)

    def forwards(hint: Any) -> bool:
        if isinstance(hint, forward):
            return True
        # The members of a Literal are values, even where they are text.
        if typing is not None and getattr(hint, "__origin__", None) is typing.Literal:
            return False
        return any(forwards(part) for part in getattr(hint, "__args__", None) or ())

    return any(forwards(hint) for hint in hints.values())
