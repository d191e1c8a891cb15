"""Reading docstrings in Google's style.

Owns the split into the first paragraph and the descriptions of arguments.
"""

from __future__ import annotations


class Docstring:
    """What a docstring says."""

    __slots__ = ("arguments", "summary")

    def __init__(self, text: str | None) -> None:
        lines = _dedented(text or "")
        summary: list[str] = []
        for line in lines:
            if not line.strip():
                break
            summary.append(line.strip())
        self.summary = " ".join(summary)
        self.arguments = _arguments(lines)


def _dedented(text: str) -> list[str]:
    """Takes away the indentation that all lines but the first share."""
    lines = text.expandtabs().strip().splitlines()
    indents = [_indent(line) for line in lines[1:] if line.strip()]
    margin = min(indents, default=0)
    return lines[:1] + [line[margin:] for line in lines[1:]]


def _arguments(lines: list[str]) -> dict[str, str]:
    headings = [index for index, line in enumerate(lines) if line in ("Args:", "Arguments:")]
    arguments: dict[str, str] = {}
    if not headings:
        return arguments
    own_indent: int | None = None
    name = ""
    for line in lines[headings[0] + 1 :]:
        indent = _indent(line)
        if not line.strip():
            continue
        if indent == 0:
            # The next section.
            break
        own_indent = indent if own_indent is None else own_indent
        head, colon, text = line.strip().partition(":")
        if indent == own_indent and colon:
            # `name (type): text`
            name = head.partition("(")[0].strip().lstrip("*")
            arguments[name] = text.strip()
        elif name:
            arguments[name] = f"{arguments[name]} {line.strip()}".strip()
    return arguments


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
