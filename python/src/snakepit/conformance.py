"""The adapter that a profile's conformance suite speaks to.

`snakepit_core::testkit::conformance` says what each tool has to do; a profile whose workers are
Python serves them as `--adapter snakepit.conformance`. Not meant for anything else: some of the
tools do harm.
"""

import os
import signal
import time
from collections.abc import Iterator

from snakepit import ThreadSafeAdapter, context, thread_safe_method, tool

# Between two looks whether a call was cancelled.
_NAP_SECONDS = 0.002


class Conformance(ThreadSafeAdapter):
    """Tools that hold, stream, fail and die on demand."""

    def setup(self) -> None:
        """Is well at first."""
        self._well = True

    def health(self) -> bool:
        """Says what `sicken` has made of it."""
        with self.lock():
            return self._well

    @tool
    @thread_safe_method
    def echo(self, value: object = None) -> object:
        """Returns what it is given."""
        return value

    @tool
    def fail(self) -> None:
        """Raises."""
        raise ValueError("on purpose")

    @tool
    @thread_safe_method
    def hold(self) -> None:
        """Waits until it is cancelled."""
        context.progress(1)
        while True:
            context.check_cancelled()
            time.sleep(_NAP_SECONDS)

    @tool
    @thread_safe_method
    def deaf(self, millis: int | None = None) -> None:
        """Looks at nothing for so long, or for ever."""
        context.progress(1)
        if millis is not None:
            time.sleep(millis / 1000)
            return
        while True:
            time.sleep(60)

    @tool
    def count(self, n: int) -> Iterator[int]:
        """Yields the numbers below `n`."""
        yield from range(n)

    @tool
    @thread_safe_method
    def peak(self) -> int:
        """Says how many calls ran at the same time at most."""
        peak: int = self.thread_stats()["peak"]
        return peak

    @tool
    def sicken(self) -> None:
        """Has the health check fail from now on."""
        with self.lock():
            self._well = False

    @tool
    def die(self) -> None:
        """Ends the process as a crash does."""
        os.kill(os.getpid(), signal.SIGKILL)
