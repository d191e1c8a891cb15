"""Who turned the GIL on.

That an extension really does is tested with a host, in the thread profile: there one is built.
"""

from __future__ import annotations

import sys
from importlib.machinery import ExtensionFileLoader

import pytest

from snakepit._gil import Watch


class Interpreter:
    """The GIL of an interpreter that a test decides about."""

    enabled = False

    def load(self, name: str, *, turns_on: bool = False, beside: str = "") -> None:
        """Loads an extension as the import system does; `beside`, meanwhile, another one."""
        loader = ExtensionFileLoader(name, f"{name}.so")
        loader.exec_module((turns_on, beside))  # type: ignore[arg-type]


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> Interpreter:
    interpreter = Interpreter()

    def load(_loader: object, subject: tuple[bool, str]) -> None:
        turns_on, beside = subject
        before = interpreter.enabled
        # It is on while an extension is being loaded, whatever that says.
        interpreter.enabled = True
        if beside:
            interpreter.load(beside)
        interpreter.enabled = before or turns_on

    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: interpreter.enabled, raising=False)
    monkeypatch.setattr(ExtensionFileLoader, "create_module", load)
    monkeypatch.setattr(ExtensionFileLoader, "exec_module", load)
    return interpreter


def test_the_extension_that_turned_it_on_is_named_and_stays_so(interpreter: Interpreter) -> None:
    watch = Watch()
    interpreter.load("harmless")
    assert watch.module() is None
    interpreter.load("culprit", turns_on=True)
    interpreter.load("late")
    assert watch.module() == "culprit"


def test_loading_itself_is_no_reason_and_of_two_at_a_time_both_are_named(
    interpreter: Interpreter,
) -> None:
    watch = Watch()
    interpreter.load("outer", beside="inner")
    assert watch.module() is None
    interpreter.load("outer", turns_on=True, beside="inner")
    assert watch.module() == "inner, outer"


def test_an_interpreter_that_has_it_on_has_nobody_to_name(interpreter: Interpreter) -> None:
    interpreter.enabled = True
    watch = Watch()
    interpreter.load("any", turns_on=True)
    assert watch.module() == ""
