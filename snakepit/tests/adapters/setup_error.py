"""Can be imported but not set up."""

from snakepit import tool


class Broken:
    """Fails in setup."""

    def setup(self) -> None:
        """Raises."""
        raise ConnectionError("the database is away")

    @tool
    def echo(self, value: object) -> object:
        """Never runs."""
        return value
