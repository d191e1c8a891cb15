"""What several modules raise.

Owns why a worker cannot start, with a start phase, a sentence and advice for the host; and why a
value is not what its hint says.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    Phase = Literal["import", "discover", "preload", "setup"]


class StartError(Exception):
    """A step of the start failed for a reason that can be put in a sentence."""

    def __init__(self, phase: Phase, message: str, help: str = "") -> None:
        super().__init__(message if not help else f"{message}; {help}")
        self.phase: Phase = phase
        self.message = message
        self.help = help


class MismatchError(ValueError):
    """A value is not what its hint says; knows where inside the argument."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.path = path

    def at(self, step: str) -> MismatchError:
        """Returns the same, seen from one level further out."""
        return MismatchError(self.message, step + self.path)

    def __str__(self) -> str:
        return f"at {self.path}: {self.message}" if self.path else self.message
