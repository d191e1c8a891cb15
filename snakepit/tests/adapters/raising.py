"""Tools that raise what Python has: chains, groups, notes, and exceptions that misbehave."""

import re
import traceback

from snakepit import tool


class OddError(Exception):
    """Neither its text nor its arguments can be had."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def plain() -> None:
    raise ValueError("as asked", 7)


def noted() -> None:
    error = KeyError("a")
    error.add_note("first note")
    error.add_note("second note,\nof two lines")
    raise error


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise RuntimeError("for a reason") from error


def while_handling() -> None:
    try:
        plain()
    except ValueError:
        raise RuntimeError("meanwhile")


def suppressed() -> None:
    try:
        plain()
    except ValueError:
        raise RuntimeError("alone") from None


def caused_elsewhere() -> None:
    try:
        plain()
    except ValueError:
        raise RuntimeError("with a cause that hides the context") from KeyError("cause")


def group() -> None:
    errors: list[Exception] = []
    for function in (plain, noted, caused):
        try:
            function()
        except Exception as error:
            errors.append(error)
    inner = ExceptionGroup("inner", errors[:2])
    raise ExceptionGroup("outer", [errors[2], inner, TypeError("last")])


def group_with_cause() -> None:
    try:
        group()
    except ExceptionGroup as error:
        raise ExceptionGroup("second", [ValueError("x")]) from error


RAISERS = {
    function.__name__: function
    for function in (
        plain,
        noted,
        caused,
        while_handling,
        suppressed,
        caused_elsewhere,
        group,
        group_with_cause,
    )
}


@tool
def run(name: str, tell: bool) -> str:
    """Raises, or tells what Python itself would print."""
    try:
        RAISERS[name]()
    except Exception as error:
        if not tell:
            raise
        lines = "".join(traceback.format_exception(error)).splitlines()
        # Marks below a part of a line are Python's own ornament.
        return "\n".join(line for line in lines if not re.fullmatch(r"[ |]*[~^]+", line))
    return ""


@tool
def odd() -> None:
    """Raises what cannot be printed."""
    raise OddError


@tool
def circular() -> None:
    """Raises an exception that is its own cause's cause."""
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


@tool
def crowd(width: int, depth: int) -> None:
    """Raises a group of groups of groups."""
    error: Exception = ValueError("x" * 100_000)
    for _ in range(depth):
        error = ExceptionGroup("many" * 10_000, [error] * width)
    raise error


@tool
def recurse(levels: int) -> int:
    """Raises from deep inside."""
    if not levels:
        raise ValueError("at the bottom")
    return recurse(levels - 1) + 1
