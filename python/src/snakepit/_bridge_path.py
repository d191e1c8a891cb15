"""Where `import snakepit_bridge` leads in a worker.

Owns the one rule: in a worker, and in the test kit, it is the package of that name that is kept
here, whatever else `sys.path` offers. The package of the same name that adapters were written for
speaks to another host, and needs grpcio, which turns the GIL on. Other programs of an environment
in which that is installed are not touched: what is here lies where no ordinary import finds it.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

_NAME = "snakepit_bridge"
_DIRECTORY = os.path.join(os.path.dirname(__file__), "_original", "path")


class _Finder:
    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG004
        target: ModuleType | None = None,  # noqa: ARG004
    ) -> ModuleSpec | None:
        """Finds the package, and nothing else."""
        if name != _NAME:
            return None
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(name, [_DIRECTORY])


def offer() -> None:
    """Has `import snakepit_bridge` lead to the package that is kept here, from now on."""
    if _Finder in sys.meta_path:
        return
    # Before all others, because adapters put directories at the front of `sys.path`.
    sys.meta_path.insert(0, _Finder)
    # For processes that the adapter starts with multiprocessing: they inherit the path only.
    sys.path.append(_DIRECTORY)
