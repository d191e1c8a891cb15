"""The base class of the original's adapters that run several calls at once.

Owns the original's names for what `snakepit` has: one lock, attributes of each thread, counters. Of
a `ThreadSafeAdapter` there is one object for all calls of a worker: it says it is made for that.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from snakepit._threadsafe import Threads, threads_of
from snakepit._threadsafe import thread_safe_method as _counted

from .base_adapter import BaseAdapter, StreamChunk, ToolMetadata, tool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from snakepit._threadsafe import AdapterLock

__all__ = [
    "BaseAdapter",
    "RequestTracker",
    "StreamChunk",
    "ThreadLocalStorage",
    "ThreadSafeAdapter",
    "ToolMetadata",
    "require_thread_safe",
    "thread_safe_method",
    "tool",
    "validate_thread_safety",
]


class ThreadLocalStorage:
    """Values that each thread has for itself, by name."""

    def __init__(self, threads: Threads | None = None) -> None:
        self._values: Any = (threads or Threads()).local

    def get(self, key: str, default: Any = None) -> Any:
        """Returns this thread's value, or the default."""
        return getattr(self._values, key, default)

    def set(self, key: str, value: Any) -> None:
        """Sets this thread's value."""
        setattr(self._values, key, value)

    def delete(self, key: str) -> None:
        """Forgets this thread's value, if it has one."""
        self._values.__dict__.pop(key, None)

    def clear(self) -> None:
        """Forgets all values of this thread."""
        self._values.__dict__.clear()


class RequestTracker:
    """Counts requests, those that run and the threads they run on."""

    def __init__(self, threads: Threads | None = None) -> None:
        self._threads = threads or Threads()

    def start_request(self, thread_id: int | None = None) -> int:  # noqa: ARG002
        """Notes that a request begins, and returns its number."""
        self._threads.__enter__()
        return self._threads.stats()["calls"]

    def end_request(self, thread_id: int | None = None) -> None:  # noqa: ARG002
        """Notes that it has ended."""
        self._threads.__exit__(None, None, None)

    def get_stats(self) -> dict[str, int]:
        """Returns the counts."""
        stats = self._threads.stats()
        return {
            "total_requests": stats["calls"],
            # A thread runs one at a time.
            "active_threads": stats["running"],
            "total_active_requests": stats["running"],
            "threads_seen": len(stats["by_thread"]),
        }


class ThreadSafeAdapter(BaseAdapter):
    """Base class of adapters that may run several calls at once, on one object.

    `initialize` and `cleanup` run around each call, on that object, while other calls run. A
    subclass that would rather have an object for each call says `__per_call__ = True`.
    """

    __thread_safe__ = True
    __per_call__ = False

    def __init__(self) -> None:
        super().__init__()
        threads = threads_of(self)
        self._lock: AdapterLock = threads.lock("state")
        self._thread_local = ThreadLocalStorage(threads)
        self._tracker = RequestTracker(threads)

    @contextmanager
    def acquire_lock(self) -> Generator[None]:
        """Holds the adapter's lock; a thread may hold it several times."""
        with self._lock:
            yield

    def get_thread_local(self, key: str, default: Any = None) -> Any:
        """Returns this thread's value, or the default."""
        return self._thread_local.get(key, default)

    def set_thread_local(self, key: str, value: Any) -> None:
        """Sets this thread's value."""
        self._thread_local.set(key, value)

    def clear_thread_local(self, key: str | None = None) -> None:
        """Forgets one value of this thread, or all."""
        if key is None:
            self._thread_local.clear()
        else:
            self._thread_local.delete(key)

    def get_stats(self) -> dict[str, Any]:
        """Returns what was counted since the adapter was made."""
        return {
            "adapter_class": type(self).__name__,
            "thread_safe": self.__thread_safe__,
            "tracker": self._tracker.get_stats(),
        }

    @contextmanager
    def track_request(self, request_id: str | None = None) -> Generator[int]:  # noqa: ARG002
        """Counts what the block does as one request."""
        number = self._tracker.start_request()
        try:
            yield number
        finally:
            self._tracker.end_request()


def thread_safe_method(func: Callable[..., Any]) -> Callable[..., Any]:
    """Counts the calls of a method in the adapter's statistics."""
    wrapper: Any = _counted(func)
    wrapper.__thread_safe__ = True
    return wrapper


def require_thread_safe(func: Callable[..., Any]) -> Callable[..., Any]:
    """Has a function refuse an adapter, its first argument, that is not declared thread-safe."""
    from functools import wraps

    @wraps(func)
    def wrapper(adapter: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(adapter, "__thread_safe__", False):
            raise ValueError(
                f"adapter `{type(adapter).__name__}` is not declared thread-safe: set "
                "`__thread_safe__ = True` if it supports concurrent access"
            )
        return func(adapter, *args, **kwargs)

    return wrapper


def validate_thread_safety(adapter_class: type) -> bool:
    """Whether an adapter class is declared thread-safe."""
    return getattr(adapter_class, "__thread_safe__", None) is True
