"""Constants that threads can read without getting in each other's way.

Owns what becomes of modules that are compiled because no bytecode of theirs is cached: at a first
import, in a directory that cannot be written to, with `PYTHONDONTWRITEBYTECODE`. A free-threaded
CPython gives the constants of cached bytecode no reference count, but those of `compile`, which
imports use too, keep theirs, and every thread that runs the code writes to it: two threads that
compute are then as slow as one. On interpreters with a GIL there is nothing to do.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def uncount() -> None:
    """Has modules that are compiled from now on treated as cached ones are."""
    is_enabled = getattr(sys, "_is_gil_enabled", None)
    if is_enabled is None or is_enabled():
        return
    import marshal
    from importlib.machinery import SourceFileLoader

    compiled = SourceFileLoader.source_to_code

    def source_to_code(self: SourceFileLoader, *args: Any, **options: Any) -> Any:
        # Reading bytecode is what makes constants immortal (`PyCode_New` in Objects/codeobject.c).
        return marshal.loads(marshal.dumps(compiled(self, *args, **options)))

    SourceFileLoader.source_to_code = source_to_code
