"""An adapter whose worker has a child, and stays where it is told to, with the GIL held."""

import os
import re
import subprocess
import sys

from snakepit import tool


def _stay() -> None:
    """Never returns. A pipe stays open for as long as this process or its child lives."""
    pipe = os.open(os.environ["SIGN"], os.O_WRONLY)
    code = "import time; time.sleep(1000)"
    subprocess.Popen([sys.executable, "-c", code], pass_fds=[pipe])
    os.write(pipe, b"+")
    # It backtracks through two to the power of sixty ways to match.
    re.match("(a+)+$", "a" * 60 + "b")


if os.environ["PHASE"] == "import":
    _stay()


def setup() -> None:
    """Runs in each worker before it is ready."""
    if os.environ["PHASE"] == "setup":
        _stay()


@tool
def stay() -> None:
    """Does not come back."""
    _stay()
