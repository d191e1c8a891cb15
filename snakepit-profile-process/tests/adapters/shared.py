"""State that a tool and a thread of its own use, with a lock and without."""

import threading

from snakepit import ThreadSafeAdapter, tool


class Shared(ThreadSafeAdapter):
    """Counts in another thread, and looks at the count in its own."""

    def setup(self) -> None:
        """Nothing is counted yet."""
        self.total = 0

    def _add(self, amount: int) -> None:
        with self.lock():
            self.total += amount

    @tool
    def careful(self) -> int:
        """Holds the lock to look."""
        self._elsewhere()
        with self.lock():
            return self.total

    @tool
    def careless(self) -> int:
        """Looks without it."""
        self._elsewhere()
        return self.total

    def _elsewhere(self) -> None:
        thread = threading.Thread(target=self._add, args=(1,))
        thread.start()
        thread.join()
