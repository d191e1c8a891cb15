"""Adapters whose tools run in several threads at once.

Owns what it means to declare that, the base class with what helps to keep the promise, and its
statistics. Looks at no access to state: that is `_threadcheck`. Loaded only by workers and adapters
that have to do with threads, and from nothing that costs a start more than a millisecond.
"""

from __future__ import annotations

from _thread import RLock, allocate_lock, get_ident, get_native_id
from _thread import _local as thread_local  # pyright: ignore[reportPrivateUsage]
from time import monotonic
from types import ModuleType

from snakepit._adapter import Adapter
from snakepit._errors import StartError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar, overload

    F = TypeVar("F", bound=Callable[..., Any])
    T = TypeVar("T")

DECLARATION = "__thread_safe__"

# In the adapter's `__dict__`; the checker leaves names alone that begin like this.
_STATE = "__snakepit_threads__"

_ADVICE = (
    "if its tools may run at the same time, {how}: `snakepit.testing.run_threads` helps to find "
    "out; else use the process profile, which runs one call at a time in each worker"
)


class ThreadSafetyError(RuntimeError):
    """An adapter is not as thread-safe as it has to be."""


def require(owner: type | ModuleType, capacity: int) -> None:
    """Refuses an adapter that has not declared itself for a worker that runs several calls at once.

    A class declares its methods, a module its functions; a class inherits the declaration.

    Raises:
        StartError: If so.
    """
    if capacity == 1:
        return
    complaint = _complaint(owner)
    if complaint:
        message = f"{complaint}, but this worker runs {capacity} calls at a time"
        raise StartError("discover", message, _advice(owner))


def require_thread_safe(adapter: T) -> T:
    """Makes sure that an adapter has declared itself thread-safe, wherever that matters.

    Args:
        adapter: An adapter's class, its module, or an object of its class.

    Returns:
        The same.

    Raises:
        ThreadSafetyError: If it has not.
    """
    owner = adapter if isinstance(adapter, (type, ModuleType)) else type(adapter)
    complaint = _complaint(owner)
    if complaint:
        raise ThreadSafetyError(f"{complaint}; {_advice(owner)}")
    return adapter


def _complaint(owner: type | ModuleType) -> str:
    declared = getattr(owner, DECLARATION, None)
    if declared is True:
        return ""
    if declared is None:
        return f"{_name(owner)} does not say that it is thread-safe"
    if declared is False:
        return f"{_name(owner)} says that it is not thread-safe"
    return f"`{DECLARATION}` of {_name(owner)} is {declared!r}, neither True nor False"


def _name(owner: type | ModuleType) -> str:
    if isinstance(owner, ModuleType):
        return f"module `{owner.__name__}`"
    return f"adapter class `{owner.__qualname__}`"


def _advice(owner: type | ModuleType) -> str:
    if isinstance(owner, ModuleType):
        return _ADVICE.format(how=f"put `{DECLARATION} = True` into the module")
    return _ADVICE.format(how=f"derive it from snakepit.ThreadSafeAdapter, or set `{DECLARATION}`")


class AdapterLock:
    """A lock with a name that counts how often and how long it was waited for.

    The thread that holds it may take it again. Used in a `with` statement.
    """

    __slots__ = ("_depth", "_lock", "_owner", "acquired", "name", "wait_seconds", "waits")

    def __init__(self, name: str) -> None:
        self._lock = RLock()
        self._owner = 0
        self._depth = 0
        self.name = name
        # Written by whoever holds the lock.
        self.acquired = 0
        self.waits = 0
        self.wait_seconds = 0.0

    @property
    def held(self) -> bool:
        """Whether the calling thread holds it."""
        return self._owner == get_ident()

    def acquire(self) -> None:
        """Takes the lock, waiting for it if it must."""
        if not self._lock.acquire(blocking=False):
            began = monotonic()
            self._lock.acquire()
            self.waits += 1
            self.wait_seconds += monotonic() - began
        self.acquired += 1
        self._owner = get_ident()
        self._depth += 1

    def release(self) -> None:
        """Gives it back.

        Raises:
            RuntimeError: If the calling thread does not hold it.
        """
        if not self.held:
            raise RuntimeError(f"lock `{self.name}` is not held by this thread")
        self._depth -= 1
        if self._depth == 0:
            self._owner = 0
        self._lock.release()

    def __enter__(self) -> AdapterLock:
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<AdapterLock {self.name}{', held here' if self.held else ''}>"


class Threads:
    """What one adapter's object keeps for its threads."""

    def __init__(self) -> None:
        self.local = thread_local()
        self.locks: dict[str, AdapterLock] = {}
        self._guard = allocate_lock()
        self._calls = 0
        self._running = 0
        self._peak = 0
        self._by_thread: dict[int, int] = {}

    def lock(self, name: str) -> AdapterLock:
        """Returns the lock of that name, made when it is first asked for."""
        found = self.locks.get(name)
        # Of several threads that come first all get the lock of one.
        return self.locks.setdefault(name, AdapterLock(name)) if found is None else found

    def __enter__(self) -> None:
        thread = get_native_id()
        with self._guard:
            self._calls += 1
            self._running += 1
            self._peak = max(self._peak, self._running)
            self._by_thread[thread] = self._by_thread.get(thread, 0) + 1

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._running -= 1

    def stats(self) -> dict[str, Any]:
        """Returns what was counted so far."""
        locks = {
            lock.name: {
                "acquired": lock.acquired,
                "waits": lock.waits,
                "wait_seconds": lock.wait_seconds,
            }
            for lock in list(self.locks.values())
        }
        with self._guard:
            return {
                "calls": self._calls,
                "running": self._running,
                "peak": self._peak,
                "by_thread": {str(thread): calls for thread, calls in self._by_thread.items()},
                "locks": locks,
            }


def threads_of(adapter: object) -> Threads:
    """Returns what an object keeps for its threads, made when it is first asked for."""
    state = adapter.__dict__
    found = state.get(_STATE)
    return state.setdefault(_STATE, Threads()) if found is None else found


class ThreadSafeAdapter(Adapter):
    """An adapter whose tools may run in several threads at once, with what helps to write one.

    What `setup` leaves behind and nobody changes needs no care. What tools change is either each
    thread's own, in `local`, or guarded by a lock:

        class Counter(snakepit.ThreadSafeAdapter):
            def setup(self):
                self.total = 0

            @snakepit.tool
            def add(self, amount: int) -> int:
                with self.lock():
                    self.total += amount
                    return self.total
    """

    __thread_safe__ = True

    __unguarded__: tuple[str, ...] = ()
    """Names of attributes that need no lock, for the thread-safety checker: those that one thread
    replaces as a whole while others may still read the old value."""

    @property
    def local(self) -> Any:
        """Attributes that each thread has for itself; a new thread has none."""
        return threads_of(self).local

    def lock(self, name: str = "state") -> AdapterLock:
        """Returns a lock of this adapter.

        Args:
            name: Which one. A lock lives as long as the adapter, so names are few.
        """
        return threads_of(self).lock(name)

    def thread_stats(self) -> dict[str, Any]:
        """Returns what was counted since the adapter was made, in plain values.

        `calls`, `running` and `peak` (most at the same time) are those of methods marked with
        `thread_safe_method`, `by_thread` their number by the thread's number in the operating
        system; `locks` has for each name how often it was `acquired`, how many `waits` there were
        and the `wait_seconds` they took together.
        """
        return threads_of(self).stats()


if TYPE_CHECKING:

    @overload
    def thread_safe_method(function: F, /) -> F: ...
    @overload
    def thread_safe_method(*, lock: str | None = None) -> Callable[[F], F]: ...


def thread_safe_method(
    function: Callable[..., Any] | None = None, /, *, lock: str | None = None
) -> Any:
    """Counts the calls of a method in the adapter's `thread_stats`, and may hold a lock meanwhile.

    Args:
        function: The method, when the decorator is used without arguments.
        lock: Name of the adapter's lock that is held while the method runs.

    Returns:
        The method, or the decorator when there are arguments.

    Raises:
        TypeError: If a lock is to be held by a coroutine or generator: it would be held while that
            waits for others.
    """

    def decorate(method: Callable[..., Any]) -> Any:
        from functools import wraps

        from snakepit._signature import kind_of

        kind = kind_of(method)
        if kind != "function" and lock is not None:
            raise TypeError(
                f"`{method.__qualname__}` would hold lock `{lock}` whenever it waits; take the "
                f"lock inside, `with self.lock({lock!r}):`, around what needs it"
            )
        return wraps(method)(_WRAPPERS[kind](method, lock))

    return decorate if function is None else decorate(function)


def _plain(method: Callable[..., Any], lock: str | None) -> Callable[..., Any]:
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        with threads_of(self):
            return method(self, *args, **kwargs)

    def locked(self: Any, *args: Any, **kwargs: Any) -> Any:
        threads = threads_of(self)
        with threads, threads.lock(lock or ""):
            return method(self, *args, **kwargs)

    return counted if lock is None else locked


def _generator(method: Callable[..., Any], _: str | None) -> Callable[..., Any]:
    def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        with threads_of(self):
            yield from method(self, *args, **kwargs)

    return counted


def _coroutine(method: Callable[..., Any], _: str | None) -> Callable[..., Any]:
    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        with threads_of(self):
            return await method(self, *args, **kwargs)

    return counted


def _async_generator(method: Callable[..., Any], _: str | None) -> Callable[..., Any]:
    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        with threads_of(self):
            generator = method(self, *args, **kwargs)
            try:
                async for item in generator:
                    yield item
            finally:
                await generator.aclose()

    return counted


_WRAPPERS = {
    "function": _plain,
    "generator": _generator,
    "coroutine": _coroutine,
    "async_generator": _async_generator,
}
