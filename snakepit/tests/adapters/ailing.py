"""A worker that says itself how it is."""

import asyncio
import os
import time
from pathlib import Path

from snakepit import tool


class Patient:
    """Is as well as the file beside it says."""

    def __init__(self, chart: str) -> None:
        self.chart = Path(chart)
        self.asked = 0
        self.at_work = False

    async def health(self) -> bool:
        """Reads what it has to be: well, false, slow or a complaint."""
        self.asked += 1
        if self.at_work:
            os.abort()
        match self.chart.read_text():
            case "well":
                return True
            case "false":
                return False
            case "slow":
                self.chart.write_text("well")
                await asyncio.sleep(1.0)
                return True
            case complaint:
                raise ConnectionError(complaint)

    @tool
    def times_asked(self) -> int:
        """Counts the checks."""
        return self.asked

    @tool
    def work(self, seconds: float) -> int:
        """Is busy; a check beside it ends the process."""
        self.at_work = True
        time.sleep(seconds)
        self.at_work = False
        return os.getpid()
