"""Write the held-out half of the digits: calls as JSON lines, and the right answers.

Usage: ``python held_out.py CALLS LABELS``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from adapter import halves


def main(calls: Path, labels: Path) -> None:
    """Write one call and one label per line, in the same order."""
    _, (pixels, digits) = halves()
    with calls.open("w") as out:
        for image in pixels.tolist():
            out.write(json.dumps({"pixels": image}) + "\n")
    labels.write_text("".join(f"{digit}\n" for digit in digits.tolist()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
