"""The original's thread-safety checker.

Owns its names and reports. It counts which threads come to a method, where it is told of it; to see
unguarded state without telling anybody, run the pool with `thread_check = "warn"`, which is this
package's own.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from contextlib import contextmanager
from functools import wraps
from inspect import currentframe
from typing import TYPE_CHECKING, Any

from .base_adapter_threaded import validate_thread_safety

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable

__all__ = [
    "ThreadSafetyChecker",
    "check_common_pitfalls",
    "check_thread_safe",
    "disable_checking",
    "enable_checking",
    "get_global_checker",
    "print_thread_safety_report",
    "require_thread_safe_adapter",
    "validate_adapter_thread_safety",
]

logger = logging.getLogger(__name__)


class ThreadSafetyChecker:
    """Counts the threads that come to each method, and warns when there are several.

    Args:
        enabled: Whether it counts.
        strict_mode: Whether it raises where it would warn.
    """

    UNSAFE_LIBRARIES: dict[str, dict[str, str]] = {  # noqa: RUF012
        "matplotlib": {
            "reason": "its figures and its state machine are shared by all threads",
            "safe_pattern": "a figure of its own for each thread, made without pyplot",
        },
        "pandas": {
            "reason": "a DataFrame must not be changed by two threads at a time",
            "safe_pattern": "a lock round each change, or a frame for each thread",
        },
        "sqlite3": {
            "reason": "a connection belongs to the thread that made it",
            "safe_pattern": "a connection for each thread",
        },
    }

    def __init__(self, enabled: bool = True, strict_mode: bool = False) -> None:
        self.enabled = enabled
        self.strict_mode = strict_mode
        self._lock = threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Forgets everything."""
        with self._lock:
            self.access_map: dict[str, set[int]] = {}
            self.thread_stats: dict[int, dict[str, Any]] = {}
            self.warnings_issued: set[str] = set()
            self.start_time = time.time()

    def check_method_access(self, method_name: str, caller_frame: Any = None) -> None:
        """Notes that this thread is in a method.

        Raises:
            RuntimeError: In strict mode, if another thread was in it before.
        """
        if not self.enabled:
            return
        thread = threading.get_ident()
        with self._lock:
            threads = self.access_map.setdefault(method_name, set())
            threads.add(thread)
            stats = self._stats_of(thread)
            stats["calls"] += 1
            stats["methods"].add(method_name)
            count = len(threads)
        if count > 1:
            where = ""
            code = getattr(caller_frame, "f_code", None)
            if code is not None:
                where = f", last from {code.co_filename}:{caller_frame.f_lineno}"
            self._warn(
                f"{method_name}_concurrent",
                f"method `{method_name}` is used by {count} threads{where}",
            )

    def check_library_safety(self, imported_modules: Iterable[str] | None = None) -> list[str]:
        """Names the loaded libraries that want care with threads.

        Raises:
            RuntimeError: In strict mode, if there is one.
        """
        if not self.enabled:
            return []
        loaded = set(sys.modules if imported_modules is None else imported_modules)
        found: list[str] = []
        for name, facts in self.UNSAFE_LIBRARIES.items():
            key = f"unsafe_lib_{name}"
            if name in loaded and key not in self.warnings_issued:
                said = f"`{name}` is loaded: {facts['reason']}; use {facts['safe_pattern']}"
                found.append(said)
                self._warn(key, said)
        return found

    @contextmanager
    def track_execution(self, method_name: str) -> Generator[None]:  # noqa: ARG002
        """Adds the time the block takes to this thread's."""
        began = time.perf_counter()
        try:
            yield
        finally:
            if self.enabled:
                with self._lock:
                    stats = self._stats_of(threading.get_ident())
                    stats["total_time"] += time.perf_counter() - began

    def get_report(self) -> dict[str, Any]:
        """Returns what was seen, in plain values."""
        with self._lock:
            shared = {name: len(ids) for name, ids in self.access_map.items() if len(ids) > 1}
            threads = {
                thread: {
                    "calls": stats["calls"],
                    "total_time": stats["total_time"],
                    "methods": sorted(stats["methods"]),
                    "avg_time_per_call": stats["total_time"] / max(stats["calls"], 1),
                }
                for thread, stats in self.thread_stats.items()
            }
            return {
                "enabled": self.enabled,
                "strict_mode": self.strict_mode,
                "total_runtime": time.time() - self.start_time,
                "warnings_issued": len(self.warnings_issued),
                "warnings": sorted(self.warnings_issued),
                "concurrent_accesses": shared,
                "total_methods_tracked": len(self.access_map),
                "total_threads_seen": len(threads),
                "thread_utilization": threads,
                "recommendations": _recommendations(len(shared), len(threads)),
            }

    def _stats_of(self, thread: int) -> dict[str, Any]:
        empty: dict[str, Any] = {"calls": 0, "total_time": 0.0, "methods": set[str]()}
        return self.thread_stats.setdefault(thread, empty)

    def _warn(self, key: str, said: str) -> None:
        with self._lock:
            is_news = key not in self.warnings_issued
            self.warnings_issued.add(key)
        if not is_news:
            return
        if self.strict_mode:
            raise RuntimeError(f"thread safety: {said}")
        warnings.warn(f"thread safety: {said}", RuntimeWarning, stacklevel=4)

    def __enter__(self) -> ThreadSafetyChecker:
        self.reset()
        return self

    def __exit__(self, *_: object) -> None:
        for line in self.get_report()["recommendations"]:
            logger.info(line)


def _recommendations(shared: int, threads: int) -> list[str]:
    said: list[str] = []
    if shared:
        said.append(f"{shared} methods are used by several threads: guard what they share")
    if threads == 1:
        said.append("only one thread was seen: try it with several")
    return said or ["nothing was found"]


_checker = ThreadSafetyChecker(enabled=False)


def enable_checking(strict_mode: bool = False) -> None:
    """Starts to count, from nothing, what is decorated with `check_thread_safe`."""
    global _checker
    _checker = ThreadSafetyChecker(enabled=True, strict_mode=strict_mode)


def disable_checking() -> None:
    """Counts no longer."""
    _checker.enabled = False


def get_global_checker() -> ThreadSafetyChecker:
    """Returns the checker of what is decorated."""
    return _checker


def check_thread_safe(func: Callable[..., Any]) -> Callable[..., Any]:
    """Has calls of a function counted while checking is enabled."""

    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        checker = _checker
        if not checker.enabled:
            return func(*args, **kwargs)
        frame = currentframe()
        checker.check_method_access(func.__name__, frame and frame.f_back)
        with checker.track_execution(func.__name__):
            return func(*args, **kwargs)

    return wrapper


def require_thread_safe_adapter(func: Callable[..., Any]) -> Callable[..., Any]:
    """Has a function refuse an adapter, its first argument, that is not declared thread-safe."""
    from .base_adapter_threaded import require_thread_safe

    return require_thread_safe(func)


def validate_adapter_thread_safety(adapter_class: type) -> bool:
    """Whether an adapter class is declared thread-safe.

    Raises:
        ValueError: If it is not, and checking is strict.
    """
    safe = validate_thread_safety(adapter_class)
    if not safe and _checker.strict_mode:
        raise ValueError(f"adapter `{adapter_class.__name__}` is not declared thread-safe")
    return safe


def check_common_pitfalls(adapter_instance: Any) -> list[str]:
    """Lists what is often forgotten."""
    found: list[str] = []
    attributes: dict[str, Any] = getattr(adapter_instance, "__dict__", {})
    shared = [
        name
        for name, value in attributes.items()
        if not name.startswith("_") and isinstance(value, (list, dict, set))
    ]
    if shared and not hasattr(adapter_instance, "_lock"):
        found.append(f"{', '.join(shared)} can be changed by any thread, and there is no lock")
    if not hasattr(adapter_instance, "__thread_safe__"):
        found.append("the class does not say `__thread_safe__`")
    return found + _checker.check_library_safety()


def print_thread_safety_report() -> None:
    """Logs the report."""
    for name, value in _checker.get_report().items():
        logger.info("%s: %s", name, value)
