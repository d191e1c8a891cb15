"""A notebook for each session: what one writes, no other reads."""

from typing import Any

from snakepit import context, tool


class Notebooks:
    """Keeps each notebook where its session's calls run, until the session ends."""

    def session_ended(self, session_id: str, session: dict[str, Any]) -> None:
        """Closes what was opened for a session; here there is only something to say."""
        print(f"the notebook of {session_id} had {len(session.get('lines', []))} lines")

    @tool
    def write(self, line: str) -> int:
        """Adds a line to the notebook of the session that calls.

        Args:
            line: What to remember.

        Returns:
            How many lines it has.
        """
        lines = context.session.setdefault("lines", [])
        lines.append(line)
        return len(lines)

    @tool
    def read(self) -> str:
        """All lines of the session's notebook."""
        return "\n".join(context.session.get("lines", []))
