"""Why a worker cannot start.

Owns the one exception that carries a start phase, a sentence and advice to the host.
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
