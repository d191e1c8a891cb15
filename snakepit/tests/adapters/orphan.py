"""Leaves a process behind whose parent has ended."""

import os
import subprocess

from snakepit import tool


class Parent:
    """Starts it."""

    def setup(self) -> None:
        """Has a shell start it, and waits for the shell."""
        script = 'setsid sleep 1000 </dev/null >/dev/null 2>&1 & echo $! > "$0"'
        subprocess.run(["sh", "-c", script, os.environ["SNAKEPIT_TEST_LEDGER"]], check=True)

    @tool
    def echo(self, value: object = None) -> object:
        """Gives back what it was given."""
        return value
