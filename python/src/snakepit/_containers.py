"""Containers that say what is done to them, for the thread-safety checker.

Owns which methods read and which change. Invariant: such a container is of its type in everything
else, and holds its items itself.
"""

from __future__ import annotations

import sys
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

# What is done to a container by name of the method, whichever type it belongs to.
_READERS = (
    *("__contains__", "__getitem__", "__iter__", "__len__", "__reversed__", "copy", "count"),
    *("get", "index", "items", "keys", "values"),
)
_WRITERS = (
    *("__delitem__", "__iadd__", "__iand__", "__imul__", "__ior__", "__isub__", "__ixor__"),
    *("__setitem__", "add", "append", "appendleft", "clear", "difference_update", "discard"),
    *("extend", "extendleft", "insert", "intersection_update", "pop", "popitem", "popleft"),
    *("remove", "reverse", "rotate", "setdefault", "sort", "symmetric_difference_update"),
    "update",
)


def _same(value: Any) -> Any:
    return value


# What a container of the same items is made with.
_ARGUMENTS: dict[Any, Callable[[Any], tuple[Any, ...]]] = {
    dict: lambda value: (value,),
    list: lambda value: (value,),
    set: lambda value: (value,),
    defaultdict: lambda value: (value.default_factory, value),
    deque: lambda value: (value, value.maxlen),
}


def _tracking(base: Any) -> Any:
    """Makes a container that says what is done to it, and is `base` in everything else."""

    def wrap(name: str, *, writes: bool) -> Callable[..., Any]:
        original: Callable[..., Any] = getattr(base, name)

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            # What a container's own methods make of its type, such as a copy, is not watched.
            note = getattr(self, "snakepit_note", None)
            if note is not None:
                note(writes)
            return original(self, *args, **kwargs)

        return method

    def __reduce_ex__(self: Any, _: int) -> Any:  # noqa: N807
        # A copy or a pickle is an ordinary one.
        return _same, (base(*_ARGUMENTS[base](self)),)

    # Looking up a key that is missing puts it in.
    writers = (*_WRITERS, "__getitem__") if base is defaultdict else _WRITERS
    members: dict[str, Any] = {
        "__slots__": ("snakepit_note",),
        "__module__": base.__module__,
        "__reduce_ex__": __reduce_ex__,
    }
    members |= {name: wrap(name, writes=False) for name in _READERS if hasattr(base, name)}
    members |= {name: wrap(name, writes=True) for name in writers if hasattr(base, name)}
    return type(base.__name__, (base,), members)


_TRACKING = {base: _tracking(base) for base in _ARGUMENTS}


# How it counts where there is nothing but the attribute differs between versions.
def _references(holder: dict[str, Any], name: str) -> int:
    return sys.getrefcount(holder[name])


_ALONE = _references({"": []}, "")


def track(attributes: dict[str, Any], name: str, note: Callable[[bool], None]) -> None:
    """Puts a container that says what is done to it in the place of an attribute's.

    Only of one that nobody else refers to: who does would not see what becomes of it.

    Args:
        attributes: The object's attributes.
        name: Which one; if it holds no such container, nothing is done.
        note: Is told before it is read (`False`) or changed (`True`).
    """
    tracking = _TRACKING.get(attributes[name].__class__)
    if tracking is not None and _references(attributes, name) <= _ALONE:
        value = attributes[name]
        tracked = tracking(*_ARGUMENTS[tracking.__base__](value))
        tracked.snakepit_note = note
        attributes[name] = tracked
