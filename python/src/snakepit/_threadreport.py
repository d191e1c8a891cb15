"""What the thread-safety checker has to say.

Owns the findings' form as text and as JSON. Finds nothing itself.
"""

from __future__ import annotations

import json
import linecache
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any


class ThreadSafetyWarning(RuntimeWarning):
    """Two threads use the same state of an adapter and hold no lock in common."""


@dataclass(frozen=True)
class Access:
    """How one thread came to a piece of state.

    Attributes:
        thread: The thread's number in the operating system.
        command: The tool that ran; empty outside a call.
        writes: Whether it changed the state.
        locks: The adapter's locks it held.
        stack: File, line and function of each frame, the innermost last.
    """

    thread: int
    command: str
    writes: bool
    locks: tuple[str, ...]
    stack: tuple[tuple[str, int, str], ...]

    def to_text(self, who: str) -> str:
        """Describes it in a line and its stack."""
        tool = f", in tool `{self.command}`" if self.command else ""
        held = " and ".join(f"`{name}`" for name in self.locks)
        held = f"holding {held}" if held else "holding no lock"
        lines = [f"{who} thread ({self.thread}{tool}) {self._verb()} it, {held}:"]
        for file, line, function in self.stack:
            lines.append(f'    File "{file}", line {line}, in {function}')
            source = linecache.getline(file, line).strip()
            if source:
                lines.append(f"      {source}")
        return "\n".join(lines)

    def _verb(self) -> str:
        return "changes" if self.writes else "reads"


@dataclass
class Finding:
    """State that two threads use with no lock in common.

    Attributes:
        name: The attribute; with `[]` what is in the container it holds.
        first: The access that was seen before.
        second: The access that met it.
        times: How often these two places met.
    """

    name: str
    first: Access
    second: Access
    times: int = 1

    def to_text(self) -> str:
        """Describes it with both stacks, and what to do about it."""
        attribute = self.name.removesuffix("[]")
        what = f"what is in `{attribute}`" if self.name != attribute else f"`{attribute}`"
        return (
            f"two threads use {what} and hold no lock in common\n"
            f"  {self.first.to_text('one')}\n"
            f"  {self.second.to_text('another')}\n"
            "  hold the same lock at both places (`with self.lock():`), or give each thread its "
            f"own (`self.local.{attribute}`), or say that it needs none "
            f"(`__unguarded__ = ({attribute!r},)`)"
        )


@dataclass
class ThreadReport:
    """What the checker has seen of one adapter.

    Attributes:
        adapter: Name of its class.
        mode: `warn` or `strict`.
        accesses: How many accesses to its state were looked at.
        threads: How many threads they came from.
        findings: What needs a lock.
    """

    adapter: str
    mode: str
    accesses: int = 0
    threads: int = 0
    findings: list[Finding] = field(default_factory=list[Finding])

    def to_text(self) -> str:
        """Describes everything, for people."""
        n = len(self.findings)
        found = f"{n} finding{'' if n == 1 else 's'}" if n else "nothing found"
        head = (
            f"thread-safety of {self.adapter}: {found} in {self.accesses} accesses "
            f"from {self.threads} threads"
        )
        return "\n\n".join([head, *(finding.to_text() for finding in self.findings)])

    def to_json(self) -> str:
        """Describes everything as a JSON object."""
        return json.dumps(
            {
                "adapter": self.adapter,
                "mode": self.mode,
                "accesses": self.accesses,
                "threads": self.threads,
                "findings": [
                    {
                        "name": finding.name,
                        "times": finding.times,
                        "first": _access_as_dict(finding.first),
                        "second": _access_as_dict(finding.second),
                    }
                    for finding in self.findings
                ],
            },
            indent=2,
        )


def _access_as_dict(access: Access) -> dict[str, Any]:
    return {
        "thread": access.thread,
        "command": access.command,
        "writes": access.writes,
        "locks": list(access.locks),
        "stack": [
            {"file": file, "line": line, "function": function}
            for file, line, function in access.stack
        ],
    }
