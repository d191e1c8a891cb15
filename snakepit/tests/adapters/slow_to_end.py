"""Takes a minute to tear down."""

import time

from snakepit import tool


class Slow:
    """Lets others wait."""

    @tool
    def echo(self, value: object = None) -> object:
        """Gives back what it was given."""
        return value

    def teardown(self) -> None:
        """Sleeps."""
        time.sleep(60)
