"""Running an adapter without a host, for tests.

Owns a stand-in for the worker: the same start, the same fitting of arguments, the same
conversion of values on the way in and out. What works here works in a pool, but for what needs
several processes.

    from snakepit.testing import run

    def test_greet():
        with run("my_adapter") as adapter:
            assert adapter.call("greet", name="Ada") == "Hello, Ada."

Tools of the host that the adapter calls are played by functions:

    def test_enrich():
        with run("my_adapter", host_tools={"lookup": lambda key: key.upper()}) as adapter:
            assert adapter.call("enrich", key="a") == {"a": "A"}

An adapter for the thread profile is run by several threads, and its state is watched meanwhile:

    from snakepit.testing import run_threads

    def test_count():
        with run_threads("my_adapter", threads=4) as adapter:
            adapter.together(lambda each, _: each.call("count"), times=100)
            assert adapter.call("count") == 401
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snakepit import _bridge_path
from snakepit._context import current
from snakepit._lifecycle import Lifecycle
from snakepit._native import CurrentCall, Tool, nearest, pack, unpack
from snakepit._threadreport import Access, Finding, ThreadReport, ThreadSafetyWarning

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping
    from typing import Literal, TypeVar

    T = TypeVar("T")

# Tests name the classes they run, and import what those import.
_bridge_path.offer()

__all__ = [
    "Access",
    "Finding",
    "LocalAdapter",
    "Progress",
    "ThreadReport",
    "ThreadSafetyWarning",
    "ThreadedAdapter",
    "run",
    "run_threads",
]


@dataclass(frozen=True)
class Progress:
    """One report a tool has made.

    Attributes:
        command: Name of the tool.
        done: Units done.
        total: Units in all; 0 if not known.
        message: What is being done.
    """

    command: str
    done: float
    total: float
    message: str


@dataclass(frozen=True)
class _CallOptions:
    timeout: float | None = None
    session_id: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])


class LocalAdapter:
    """An adapter that has been started in this process.

    Attributes:
        tools: Its tools by name.
        progress: All reports so far.
    """

    def __init__(
        self,
        lifecycle: Lifecycle,
        tools: dict[str, Tool],
        progress: list[Progress],
        options: _CallOptions,
        sessions: dict[str, dict[str, Any]],
        host_tools: Mapping[str, Callable[..., Any]],
    ) -> None:
        self._lifecycle = lifecycle
        self._options = options
        self._sessions = sessions
        self._host_tools = host_tools
        self.tools = tools
        self.progress = progress

    def calling(
        self,
        *,
        timeout: float | None = None,
        session_id: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> LocalAdapter:
        """Returns the same adapter, with particulars for the calls made through it.

        Args:
            timeout: Seconds after which a call is over.
            session_id: The session it belongs to.
            metadata: Key-value pairs from its caller.
        """
        options = _CallOptions(timeout, session_id, metadata or {})
        return LocalAdapter(
            self._lifecycle, self.tools, self.progress, options, self._sessions, self._host_tools
        )

    def end_session(self, session_id: str) -> None:
        """Ends a session: the adapter is told, and what its tools kept is gone.

        Args:
            session_id: The session; one that had no call is over already.
        """
        session = self._sessions.pop(session_id, None)
        told = self._lifecycle.session_ended
        if session is not None and told is not None:
            told(session_id, session)

    def health(self) -> bool:
        """Asks the adapter how it is, as a host does every few minutes.

        Returns:
            Whether it is well.

        Raises:
            BaseException: What its `health` raised because it is not.
        """
        return self._lifecycle.health()

    def call(self, command: str, /, *args: Any, **kwargs: Any) -> Any:
        """Calls a tool that returns one value.

        Args:
            command: Name of the tool.
            *args: Arguments by position.
            **kwargs: Arguments by name; not both.

        Returns:
            What the caller would get, in plain values.

        Raises:
            ArgumentsError: If the arguments do not fit.
            LookupError: If there is no such tool.
            TypeError: If the tool yields a stream.
        """
        tool = self._tool(command, streaming=False)
        call, context, result = self._enter(tool, command, args, kwargs)
        if tool.is_async:
            result = self._lifecycle.runner().run(result, context, call)
        if tool.either and (hasattr(result, "__next__") or hasattr(result, "__anext__")):
            raise _mismatch(command, streams=True)
        return unpack(pack(result))

    def stream(self, command: str, /, *args: Any, **kwargs: Any) -> Iterator[Any]:
        """Calls a tool that yields a stream.

        Args:
            command: Name of the tool.
            *args: Arguments by position.
            **kwargs: Arguments by name; not both.

        Returns:
            The items; leaving it early closes the generator. Those of an asynchronous generator
            are collected first.

        Raises:
            ArgumentsError: If the arguments do not fit.
            LookupError: If there is no such tool.
            TypeError: If the tool returns one value.
        """
        tool = self._tool(command, streaming=True)
        call, context, generator = self._enter(tool, command, args, kwargs, streaming=True)
        if tool.is_async or (tool.either and hasattr(generator, "__anext__")):
            items = _Items()
            self._lifecycle.runner().stream(generator, context, call, items)
            return iter(items.items)
        return _iterate(context, generator)

    def _tool(self, command: str, *, streaming: bool) -> Tool:
        tool = self.tools.get(command) or self.tools.get("*")
        if tool is None:
            near = nearest(command, list(self.tools))
            hint = f"; did you mean `{near}`?" if near else ""
            raise LookupError(f"the adapter has no tool `{command}`{hint}")
        if tool.streaming != streaming and not tool.either:
            raise _mismatch(command, streams=tool.streaming)
        return tool

    def _enter(
        self,
        tool: Tool,
        command: str,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        *,
        streaming: bool = False,
    ) -> tuple[CurrentCall, Context, Any]:
        if args and kwargs:
            raise TypeError("a call has arguments by position or by name, not both")
        given = kwargs or list(args) or None
        bound_args, bound_kwargs = tool.bind(unpack(pack(given)))

        def note(done: float, total: float, message: str) -> None:
            self.progress.append(Progress(command, done, total, message))

        session_id = self._options.session_id
        session = None
        if session_id:
            session = (session_id, self._sessions.setdefault(session_id, {}))
        call = CurrentCall.local(
            command,
            note,
            on_tool=self._call_host_tool,
            tools=[
                (name, (function.__doc__ or "").strip(), '{"type": "object"}', "")
                for name, function in self._host_tools.items()
            ],
            timeout=self._options.timeout,
            session=session,
            metadata=dict(self._options.metadata),
            streaming=streaming,
        )
        context = copy_context()
        context.run(current.set, call)
        return call, context, context.run(tool.function, *bound_args, **bound_kwargs)

    def _call_host_tool(self, name: str, arguments: dict[str, Any]) -> Any:
        from snakepit._host_tool import ToolError

        function = self._host_tools.get(name)
        if function is None:
            message = f"there is no tool `{name}`: give `run` one in `host_tools`"
            raise ToolError(message, tool=name, kind="tool_not_found")
        return unpack(pack(function(**unpack(pack(arguments)))))


@contextmanager
def run(
    adapter: str | ModuleType | type,
    *,
    preload: bool = True,
    host_tools: Mapping[str, Callable[..., Any]] | None = None,
    **adapter_args: Any,
) -> Generator[LocalAdapter]:
    """Starts an adapter, and ends it at the end of the block.

    Args:
        adapter: The adapter's name as a host would give it, its module, or its class.
        preload: Whether its `preload` runs.
        host_tools: Functions that play the host's tools, by name. They take the arguments by name,
            and fail as tools do by raising `ToolError`.
        **adapter_args: What its class is made with.

    Yields:
        The adapter, ready for calls.
    """
    with _started(Lifecycle(), adapter, adapter_args, preload=preload) as started:
        yield LocalAdapter(*started, [], _CallOptions(), {}, host_tools or {})


class ThreadedAdapter(LocalAdapter):
    """An adapter that is called by several threads, as in a worker of the thread profile."""

    threads: int = 1

    def together(self, work: Callable[[LocalAdapter, int], T], *, times: int = 1) -> list[T]:
        """Has every thread call the adapter, all beginning at the same time.

        Args:
            work: What each does; it is given the adapter and the thread's number, from 0.
            times: How often each does it.

        Returns:
            What `work` has returned, thread after thread.

        Raises:
            BaseException: What `work` raised first; a note says if there was more.
        """
        results: list[list[T]] = [[] for _ in range(self.threads)]
        errors: list[BaseException] = []
        ready = threading.Barrier(self.threads)

        def run(index: int) -> None:
            ready.wait()
            try:
                for _ in range(times):
                    results[index].append(work(self, index))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(index,)) for index in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            if len(errors) > 1:
                errors[0].add_note(f"{len(errors)} of {self.threads} threads failed")
            raise errors[0]
        return [result for each in results for result in each]

    @property
    def report(self) -> ThreadReport:
        """What the checker has seen so far; nothing with `check="off"`."""
        checker = self._lifecycle.checker
        return ThreadReport("", "off") if checker is None else checker.report()


@contextmanager
def run_threads(
    adapter: str | ModuleType | type,
    *,
    threads: int = 4,
    check: Literal["strict", "warn", "off"] = "strict",
    preload: bool = True,
    host_tools: Mapping[str, Callable[..., Any]] | None = None,
    **adapter_args: Any,
) -> Generator[ThreadedAdapter]:
    """Starts an adapter as a worker of the thread profile does, and watches its state.

    Args:
        adapter: The adapter's name as a host would give it, its module, or its class.
        threads: How many calls run at a time.
        check: With `strict`, a call fails that touches state which another thread uses too and
            holds no lock in common with it; with `warn` that is a warning, and in the report.
        preload: Whether its `preload` runs.
        host_tools: Functions that play the host's tools, by name, as in `run`.
        **adapter_args: What its class is made with.

    Yields:
        The adapter, ready for calls.

    Raises:
        StartError: If the adapter has not declared itself thread-safe.
    """
    lifecycle = Lifecycle(capacity=threads)
    lifecycle.thread_check = check
    with _started(lifecycle, adapter, adapter_args, preload=preload) as started:
        threaded = ThreadedAdapter(*started, [], _CallOptions(), {}, host_tools or {})
        threaded.threads = threads
        yield threaded


@contextmanager
def _started(
    lifecycle: Lifecycle,
    adapter: str | ModuleType | type,
    adapter_args: dict[str, Any],
    *,
    preload: bool,
) -> Generator[tuple[Lifecycle, dict[str, Tool]]]:
    if isinstance(adapter, str):
        lifecycle.load(adapter)
    elif isinstance(adapter, ModuleType):
        lifecycle.use(adapter, None)
    else:
        lifecycle.use(None, adapter)
    if preload:
        lifecycle.preload()
    tools = {tool.name: tool for tool in lifecycle.make(adapter_args)}
    try:
        yield lifecycle, tools
    finally:
        lifecycle.teardown()


class _Items:
    """Takes the items of an asynchronous generator, with credit for all of them."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def put(self, item: Any) -> bool:
        self.items.append(unpack(pack(item)))
        return True

    def try_send(self) -> bool:
        return True


def _mismatch(command: str, *, streams: bool) -> TypeError:
    what = "yields a stream: use `stream`" if streams else "returns: use `call`"
    return TypeError(f"tool `{command}` {what}")


def _iterate(context: Context, generator: Any) -> Iterator[Any]:
    step: Callable[[], Any] = generator.__next__
    try:
        while True:
            try:
                item = context.run(step)
            except StopIteration:
                return
            yield unpack(pack(item))
    finally:
        context.run(generator.close)
