"""The original's own adapters, and those that programs keep beside them.

What lies in a directory `snakepit_bridge/adapters` of `sys.path` is found too, after what is here:
some adapters were written into a copy of the original.
"""

import os
import sys

for _entry in sys.path:
    _directory = os.path.join(_entry or ".", "snakepit_bridge", "adapters")
    if _directory not in __path__ and os.path.isdir(_directory):
        __path__.append(_directory)
