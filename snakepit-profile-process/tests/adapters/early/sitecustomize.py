"""Imported by the interpreter before the worker's first line: stays there."""

import os
import re

os.open(os.environ["SIGN"], os.O_WRONLY)
# It backtracks through two to the power of sixty ways to match.
re.match("(a+)+$", "a" * 60 + "b")
