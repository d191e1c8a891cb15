"""An adapter that treats its worker roughly."""

import os
import re
import signal
import sys
import time

from snakepit import Adapter, tool


class Rough(Adapter):
    """Kills, hangs and floods."""

    def __init__(self, greeting: str = "hello") -> None:
        self.greeting = greeting

    @tool
    def greet(self) -> str:
        """Says what it was told to say."""
        return self.greeting

    @tool
    def environment(self, name: str) -> str | None:
        """Reads an environment variable."""
        return os.environ.get(name)

    @tool
    def nap(self, seconds: float) -> float:
        """Sleeps and does not look at anything."""
        time.sleep(seconds)
        return seconds

    @tool
    def touch_and_nap(self, path: str, seconds: float) -> None:
        """Shows that it has started, then sleeps."""
        with open(path, "w", encoding="utf-8"):
            pass
        time.sleep(seconds)

    @tool
    def flood(self, kibibytes: int) -> int:
        """Writes so much to stdout and as much to stderr, below Python."""
        line = b"x" * 1023 + b"\n"
        for _ in range(kibibytes):
            os.write(1, line)
            os.write(2, line)
        return kibibytes

    @tool
    def murmur(self, text: str) -> None:
        """Prints a line."""
        print(text)

    @tool
    def deaf(self, path: str) -> None:
        """Ignores SIGTERM and never returns."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(path, "w", encoding="utf-8"):
            pass
        while True:
            time.sleep(1)

    @tool
    def deaf_and_busy(self, path: str) -> None:
        """Ignores SIGTERM and never lets go of a core, nor of the GIL."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        with open(path, "w", encoding="utf-8"):
            pass
        # It backtracks through two to the power of sixty ways to match.
        re.match("(a+)+$", "a" * 60 + "b")

    @tool
    def crash(self) -> None:
        """Dies as native code dies."""
        print("about to crash", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGSEGV)

    @tool
    def orphan_and_crash(self) -> None:
        """Leaves a child behind that holds every descriptor in a group of its own, and dies."""
        if os.fork() == 0:
            os.setsid()
            time.sleep(20)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
