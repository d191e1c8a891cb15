"""An adapter from its name to its end.

Owns the order of the steps of a start (load, discover, preload, make, setup) and of the end, for
the worker as well as for tests. Knows no host.
"""

from __future__ import annotations

import os
import sys
from _thread import allocate_lock
from types import FunctionType

from snakepit._discover import Marked, Tools, class_of, marked_functions, marked_in
from snakepit._errors import StartError
from snakepit._load import load
from snakepit._native import compete

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

    from snakepit._errors import Phase
    from snakepit._loop import Runner
    from snakepit._loop_thread import LoopThread
    from snakepit._native import Link, Tool
    from snakepit._original.adapter import Original
    from snakepit._threadcheck import Checker


# What an adapter may have beside its tools, and is asked for once it is made.
_HOOKS = ("setup", "teardown", "health", "session_ended")


class Lifecycle:
    """One adapter in one process.

    Attributes:
        phase: How far the start has come, for whoever has to report that it failed.
        thread_check: `warn`, `strict` or `off`: whether the adapter's state is watched; `None`
            leaves it to `SNAKEPIT_THREAD_CHECK`.
        checker: Who watches it, once it is set up.
    """

    def __init__(self, link: Link | None = None, capacity: int = 1) -> None:
        self.phase: Phase = "import"
        self.thread_check: str | None = None
        # Asked here, as this may be a zygote: a worker would copy pages to learn of nothing.
        self._asked_to_check = os.environ.get("SNAKEPIT_THREAD_CHECK")
        self.checker: Checker | None = None
        self._capacity = capacity
        self._link = link
        self._module: ModuleType | None = None
        self._class: type | None = None
        self._object: object | None = None
        self._functions: list[Marked] = []
        self._module_hooks: dict[str, list[Callable[..., Any]]] = {}
        self._tools = Tools()
        self._original: Original | None = None
        self._runner: Runner | LoopThread | None = None
        self._making_runner = allocate_lock()

    def attach(self, link: Link, capacity: int = 1) -> None:
        """Takes the link, if there was none when the adapter was loaded.

        Args:
            link: The link.
            capacity: How many calls run at a time.
        """
        self._link, self._capacity = link, capacity

    def load(self, spec: str) -> None:
        """Imports the adapter and finds its tools."""
        module, cls = load(spec)
        self.use(module, cls)

    def use(self, module: ModuleType | None, cls: type | None) -> None:
        """Takes an adapter that is imported already: a module, a class, or both."""
        self.phase = "discover"
        self._module, self._class = module, cls
        if module is not None and cls is None:
            self._functions = marked_functions(module)
            self._class = class_of(module)
        for name in _HOOKS:
            if callable(function := getattr(module, name, None)):
                self._module_hooks[name] = [function]
        methods = [] if self._class is None else marked_in(self._class)
        if not self._functions and not methods:
            self._use_original()
        if self._capacity > 1:
            self._require_thread_safe()
        if module is not None:
            self._tools.add_functions(module, self._functions)
        if self._class is not None:
            self._tools.add_methods(self._class, methods)

    def _use_original(self) -> None:
        from snakepit._original.adapter import original_of

        self._original = original_of(self._module, self._class)
        if self._original is None:
            raise StartError(
                "discover",
                "the adapter has no tools",
                "mark its functions or methods with @snakepit.tool",
            )
        self._class = self._original.cls

    def preload(self) -> None:
        """Runs what can be shared by all workers."""
        if self._original is not None:
            # It knows no such hook, and what happens to have the name is not one.
            return
        self.phase = "preload"
        for owner in (self._module, self._class):
            function = getattr(owner, "preload", None)
            if function is None:
                continue
            if isinstance(owner, type) and isinstance(function, FunctionType):
                self._check_static(owner, function)
            result = function()
            if _is_awaitable(result):
                # A loop of its own: the worker's must not exist before a fork.
                import asyncio

                asyncio.run(_await(result))

    def make(self, arguments: dict[str, Any]) -> list[Tool]:
        """Makes the adapter, sets it up and returns its tools."""
        self.phase = "setup"
        if self._class is not None or "setup" in self._module_hooks:
            # A worker's start gives way to others; what the adapter starts does not.
            compete()
        if self._original is not None:
            return self._make_original(self._original, arguments)
        if self._class is not None:
            self._object = self._class(**arguments)
        elif arguments:
            raise StartError(
                "setup",
                f"adapter arguments were given, but {self._module} has no class to take them",
                "make the adapter a class, or leave the arguments out",
            )
        self.phase = "discover"
        tools = self._tools.bound_to(self._object)
        self.phase = "setup"
        for function in self._hooks("setup"):
            self._finish(function())
        self._check_threads()
        return tools

    def _make_original(self, original: Original, arguments: dict[str, Any]) -> list[Tool]:
        from snakepit._original.request import Requests

        requests = Requests(original, arguments, self.runner, several=self._capacity > 1)
        if requests.shared is not None:
            self._object = requests.shared
            self._check_threads()
        return requests.tools()

    def teardown(self) -> None:
        """Lets the adapter clean up, in the reverse order of its setup."""
        if self.checker is not None:
            self.checker.close()
        for function in reversed(self._hooks("teardown")):
            try:
                self._finish(function())
            except BaseException:
                # One that fails does not keep the others from theirs.
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        if self._runner is not None:
            self._runner.close()

    def health(self) -> bool:
        """Asks the adapter how it is.

        Returns:
            Whether it is well; a check that returns anything but `False` has found it so.

        Raises:
            BaseException: What the adapter's check raised because it is not.
        """
        return all(self._finish(function()) is not False for function in self._hooks("health"))

    @property
    def session_ended(self) -> Callable[[str, dict[str, Any]], None] | None:
        """What tells the adapter that a session is over, if it wants to know."""
        return self._end_session if self._hooks("session_ended") else None

    def _end_session(self, session_id: str, session: dict[str, Any]) -> None:
        for function in self._hooks("session_ended"):
            try:
                self._finish(function(session_id, session))
            except BaseException:
                # Nobody waits for it, and the worker is as good as before.
                sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]

    def runner(self) -> Runner | LoopThread:
        """Returns the event loop's runner, made when it is first needed."""
        if self._runner is None:
            with self._making_runner:
                if self._runner is None:
                    self._runner = self._make_runner()
        return self._runner

    def _make_runner(self) -> Runner | LoopThread:
        if self._capacity == 1:
            from snakepit._loop import Runner

            return Runner(self._link)
        from snakepit._loop_thread import LoopThread

        return LoopThread(self._link)

    def _require_thread_safe(self) -> None:
        # Not loaded where there is one call at a time.
        from snakepit._threadsafe import require

        if self._functions and self._module is not None:
            require(self._module, self._capacity)
        if self._class is not None:
            require(self._class, self._capacity)

    def _check_threads(self) -> None:
        mode = self.thread_check or self._asked_to_check
        if mode:
            from snakepit._threadcheck import start

            self.checker = start(self._object, mode)

    def _hooks(self, name: str) -> list[Callable[..., Any]]:
        if self._original is not None:
            # Its hooks are those of each call.
            return []
        hooks: list[Callable[..., Any]] = []
        # With a class of a named module, the module's own functions are not the adapter's.
        if self._functions or self._object is None:
            hooks += self._module_hooks.get(name, ())
        if self._object is not None and callable(function := getattr(self._object, name, None)):
            hooks.append(function)
        return hooks

    def _finish(self, result: Any) -> Any:
        return self.runner().run(_await(result)) if _is_awaitable(result) else result

    def _check_static(self, owner: type, function: FunctionType) -> None:
        # A static method and an ordinary one both come out of the class as plain functions.
        found = next(vars(base)["preload"] for base in owner.__mro__ if "preload" in vars(base))
        if isinstance(found, staticmethod):
            return
        raise StartError(
            "preload",
            f"`preload` of {owner.__qualname__} is a method ({function.__qualname__})",
            "it runs before the adapter is made: make it a @classmethod or @staticmethod",
        )


def _is_awaitable(result: object) -> bool:
    return hasattr(result, "__await__")


async def _await(awaitable: Any) -> Any:
    return await awaitable
