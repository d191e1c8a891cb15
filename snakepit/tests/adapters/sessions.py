"""Keeps what it counts for sessions, and notes which are over."""

import os
import signal
import time
from pathlib import Path
from typing import Any

from snakepit import context, tool


class Sessions:
    """May run in several threads: each call changes what is its session's, and lists are only added to."""

    __thread_safe__ = True

    def __init__(self) -> None:
        self._over: list[tuple[str, int]] = []

    def session_ended(self, session_id: str, session: dict[str, Any]) -> None:
        """Notes it, with what it has counted."""
        self._over.append((session_id, session.get("count", 0)))

    @tool
    def count(self) -> tuple[int, str | None, int]:
        """The calls of this session in this worker, its id, and the process."""
        session = context.session
        session["count"] = session.get("count", 0) + 1
        return session["count"], context.session_id, os.getpid()

    @tool
    def hold(self, gate: str) -> int:
        """Says that it runs, and counts when a file is there."""
        context.progress(1)
        while not Path(gate).exists():
            context.check_cancelled()
            time.sleep(0.002)
        return self.count()[0]

    @tool
    def over(self) -> list[tuple[str, int]]:
        """The sessions that are over here, and what they had counted."""
        return self._over

    @tool
    def die(self) -> None:
        """Ends the worker as a crash does."""
        os.kill(os.getpid(), signal.SIGKILL)
