"""Which module turned the GIL on.

An interpreter that can be without its GIL turns it on for good when it loads an extension that has
not declared that it can do without. Owns the look before and after each such loading, where alone
that happens. On other interpreters there is nothing to look for.
"""

from __future__ import annotations

import sys
from _thread import allocate_lock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class Watch:
    """The GIL of this interpreter, and who turned it on."""

    def __init__(self) -> None:
        self._is_enabled: Callable[[], bool] = getattr(sys, "_is_gil_enabled", lambda: True)
        self._lock = allocate_lock()
        # While extensions are being loaded the GIL is on for the moment.
        self._loading = 0
        self._loaded: list[str] = []
        self._module: str | None = None
        if self._is_enabled():
            self._module = ""
            return
        from importlib.machinery import ExtensionFileLoader

        for name in ("create_module", "exec_module"):
            setattr(ExtensionFileLoader, name, self._around(getattr(ExtensionFileLoader, name)))

    def module(self) -> str | None:
        """Says who turned the GIL on.

        Returns:
            None if it is off; else the module's name, or those of several that were loaded at the
            same time, or nothing if it is not known.
        """
        with self._lock:
            self._look()
            return self._module

    def _look(self) -> None:
        if self._loading or self._module is not None:
            return
        if self._is_enabled():
            self._module = ", ".join(dict.fromkeys(self._loaded))
        self._loaded.clear()

    def _around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        def load(loader: Any, subject: Any) -> Any:
            with self._lock:
                self._look()
                self._loading += 1
            try:
                return step(loader, subject)
            finally:
                with self._lock:
                    self._loading -= 1
                    self._loaded.append(loader.name)
                    self._look()

        return load
