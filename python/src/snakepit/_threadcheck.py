"""The thread-safety checker: finds state of an adapter that several threads use without a lock.

Owns the watching of one adapter's object. Nothing of this is loaded unless it is asked for, by
`SNAKEPIT_THREAD_CHECK` or by a test.

Calls of different threads come in no order an adapter could rely on, so two accesses are a finding
when they come from different threads, one of them writes, and no lock was held in both: whether or
not they met this time. What was done until the end of `setup` is before all calls and does not
count. Invariant: a stack is taken by the thread it belongs to, when it touches the state.
"""

from __future__ import annotations

import os
import sys
import threading
import warnings
from typing import TYPE_CHECKING, Any

from snakepit._containers import track
from snakepit._context import context, current
from snakepit._errors import StartError
from snakepit._threadreport import Access, Finding, ThreadReport, ThreadSafetyWarning
from snakepit._threadsafe import ThreadSafetyError, threads_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType
    from typing import Literal

    Mode = Literal["warn", "strict"]

# Enough to see how a tool came to the line, and little enough to keep for each attribute.
_MAX_FRAMES = 12

# Different thread, lock and kind of access are remembered apart; a worker has few threads.
_MAX_ACCESSES = 256

_PACKAGE = os.path.dirname(__file__) + os.sep


def start(adapter: object | None, mode: str) -> Checker | None:
    """Watches an adapter that has been set up, if that is asked for.

    Args:
        adapter: The adapter's object; `None` if it is a module of functions.
        mode: `warn` or `strict`, or `off`.

    Raises:
        StartError: If the mode is none, or such an object cannot be watched.
    """
    if mode == "off":
        return None
    if mode not in ("warn", "strict"):
        help = "set it to warn or strict, or to off"
        raise StartError(
            "setup", f"the thread-safety check (SNAKEPIT_THREAD_CHECK) is `{mode}`", help
        )
    if adapter is None:
        warnings.warn(
            "the thread-safety check watches the attributes of an adapter's object, and this "
            "adapter has no class: the variables of its module are not watched",
            ThreadSafetyWarning,
            stacklevel=2,
        )
        return None
    return Checker(adapter, mode, os.environ.get("SNAKEPIT_THREAD_REPORT"))


class Checker:
    """Watches one adapter's object from now on.

    Args:
        adapter: The object, made and set up.
        mode: Whether a finding is a warning, or fails the call.
        directory: Where the report is written when something is found, if anywhere.
    """

    def __init__(self, adapter: Any, mode: Mode, directory: str | None = None) -> None:
        cls: type = adapter.__class__
        if not hasattr(adapter, "__dict__"):
            raise _cannot_watch(cls, f"`{cls.__qualname__}` has no `__dict__`")
        self._mode: Mode = mode
        self._directory = directory
        self._report = ThreadReport(cls.__qualname__, mode)
        self._guard = threading.Lock()
        self._here = threading.local()
        self._threads = 0
        self._seen: dict[str, dict[tuple[int, bool, frozenset[str]], Access]] = {}
        self._found: dict[tuple[object, ...], Finding] = {}
        self._helper_locks = threads_of(adapter).locks
        self._watching = True
        self._unguarded = frozenset[str](getattr(cls, "__unguarded__", ()))
        self._track_containers(adapter)
        try:
            adapter.__class__ = _watched(cls, self)
        except TypeError as error:
            raise _cannot_watch(cls, str(error)) from error

    def _track_containers(self, adapter: object) -> None:
        attributes = _attributes_of(adapter)
        for name in list(attributes):
            if self.is_watched(name):

                def note(writes: bool, name: str = f"{name}[]") -> None:
                    self.note(name, writes=writes)

                track(attributes, name, note)

    def report(self) -> ThreadReport:
        """Returns what was seen so far."""
        with self._guard:
            findings = list(self._report.findings)
            return ThreadReport(
                self._report.adapter,
                self._mode,
                self._report.accesses,
                self._threads,
                findings,
            )

    def close(self) -> None:
        """Watches no longer: what follows comes after all calls. Writes the report."""
        self._watching = False
        self._write()

    def is_watched(self, name: str) -> bool:
        """Whether an attribute of that name is of interest."""
        return name[:2] != "__" and name not in self._unguarded

    def note(self, name: str, *, writes: bool) -> None:
        """Takes note that the calling thread is about to touch a piece of state.

        Raises:
            ThreadSafetyError: In strict mode, if another thread does so without a common lock.
        """
        if not self._watching:
            return
        thread = self._thread()
        locks = self._locks_held()
        key = (thread, writes, locks)
        with self._guard:
            self._report.accesses += 1
            seen = self._seen.setdefault(name, {})
            other = next(
                (
                    access
                    for (their_thread, they_write, their_locks), access in seen.items()
                    if their_thread != thread
                    and (writes or they_write)
                    and their_locks.isdisjoint(locks)
                ),
                None,
            )
            if other is None and key in seen:
                return
        access = Access(
            threading.get_native_id(),
            context.command,
            writes,
            tuple(sorted(locks)),
            _stack(sys._getframe(1)),  # pyright: ignore[reportPrivateUsage]
        )
        with self._guard:
            if len(seen) < _MAX_ACCESSES:
                seen.setdefault(key, access)
        if other is not None:
            self._conflict(name, other, access)

    def entered(self, lock: str) -> None:
        """Takes note that the calling thread has taken a lock of the adapter's own."""
        self._own_locks().append(lock)

    def left(self, lock: str) -> None:
        """Takes note that the calling thread has given it back."""
        own = self._own_locks()
        if lock in own:
            own.remove(lock)

    def _conflict(self, name: str, first: Access, second: Access) -> None:
        places = frozenset((first.stack[-1:], second.stack[-1:]))
        key = (name, places)
        with self._guard:
            known = self._found.get(key)
            if known is not None:
                known.times += 1
                finding = known
            else:
                finding = self._found[key] = Finding(name, first, second)
                self._report.findings.append(finding)
        if known is None:
            self._write()
        if self._mode == "strict" and current.get() is not None:
            raise ThreadSafetyError(f"{self._report.adapter}: {finding.to_text()}")
        if known is None:
            # No call stands above, or nobody asked for more than a warning.
            warnings.warn(
                f"{self._report.adapter}: {finding.to_text()}", ThreadSafetyWarning, stacklevel=2
            )

    def _write(self) -> None:
        if self._directory is None:
            return
        name = f"thread-check-{self._report.adapter}-{os.getpid()}.json"
        path = os.path.join(self._directory, name)
        text = self.report().to_json()
        # Beside it first: whoever reads it finds a whole one.
        part = f"{path}.{threading.get_native_id()}.part"
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.write(text)
            os.replace(part, path)
        except OSError as error:
            self._directory = None
            warnings.warn(f"no thread report can be written: {error}", stacklevel=2)

    def _thread(self) -> int:
        # Not `get_ident`, which a later thread may bear again.
        number = getattr(self._here, "number", None)
        if number is None:
            with self._guard:
                self._threads += 1
                number = self._here.number = self._threads
        return number

    def _locks_held(self) -> frozenset[str]:
        helper = [name for name, lock in list(self._helper_locks.items()) if lock.held]
        return frozenset((*helper, *self._own_locks()))

    def _own_locks(self) -> list[str]:
        locks: list[str] | None = getattr(self._here, "locks", None)
        if locks is None:
            locks = self._here.locks = []
        return locks


def _stack(frame: FrameType | None) -> tuple[tuple[str, int, str], ...]:
    """Returns the calling thread's own frames, without Snakepit's."""
    stack: list[tuple[str, int, str]] = []
    while frame is not None and len(stack) < _MAX_FRAMES:
        file = frame.f_code.co_filename
        own = file.startswith(_PACKAGE) and os.path.basename(file) not in _SHOWN
        if not own:
            stack.append((file, frame.f_lineno, frame.f_code.co_name))
        elif stack:
            # What called the tool.
            break
        frame = frame.f_back
    return tuple(reversed(stack))


# Adapters that come with the package.
_SHOWN = ("showcase.py", "conformance.py")


def _watched(cls: type, checker: Checker) -> type:
    """Makes a class that is the adapter's in everything but that its attributes are watched."""
    base: Any = cls
    get: Callable[[Any, str], Any] = base.__getattribute__
    set: Callable[[Any, str, Any], None] = base.__setattr__
    delete: Callable[[Any, str], None] = base.__delattr__
    slots = frozenset(_slots_of(cls))

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        if not checker.is_watched(name):
            return get(self, name)
        is_state = name in slots or name in _attributes_of(self)
        if is_state:
            checker.note(name, writes=False)
        value = get(self, name)
        return _WatchedLock(value, name, checker) if isinstance(value, _LOCKS) else value

    def __setattr__(self: Any, name: str, value: Any) -> None:  # noqa: N807
        if checker.is_watched(name):
            checker.note(name, writes=True)
        set(self, name, value)

    def __delattr__(self: Any, name: str) -> None:  # noqa: N807
        if checker.is_watched(name):
            checker.note(name, writes=True)
        delete(self, name)

    members = {
        "__slots__": (),
        "__module__": cls.__module__,
        "__qualname__": cls.__qualname__,
        "__doc__": cls.__doc__,
        "__getattribute__": __getattribute__,
        "__setattr__": __setattr__,
        "__delattr__": __delattr__,
    }
    return type(cls)(cls.__name__, (cls,), members)


def _cannot_watch(cls: type, why: str) -> StartError:
    return StartError(
        "setup",
        f"adapter class `{cls.__qualname__}` cannot be checked for thread-safety: {why}",
        "unset SNAKEPIT_THREAD_CHECK",
    )


def _slots_of(cls: type) -> Iterator[str]:
    for base in cls.__mro__:
        slots: Any = vars(base).get("__slots__", ())
        yield from ((slots,) if isinstance(slots, str) else slots)


def _attributes_of(adapter: object) -> dict[str, Any]:
    return object.__getattribute__(adapter, "__dict__")


_LOCKS = (type(threading.Lock()), type(threading.RLock()), threading.Condition)


class _WatchedLock:
    """A lock of the adapter's own, as its attribute gives it out."""

    def __init__(self, lock: Any, name: str, checker: Checker) -> None:
        self._lock = lock
        self._name = name
        self._checker = checker

    def acquire(self, *args: Any, **kwargs: Any) -> Any:
        taken = self._lock.acquire(*args, **kwargs)
        if taken:
            self._checker.entered(self._name)
        return taken

    def release(self) -> None:
        self._checker.left(self._name)
        self._lock.release()

    def __enter__(self) -> Any:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lock, name)
