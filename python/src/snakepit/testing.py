"""Running an adapter without a host, for tests.

Owns a stand-in for the worker: the same start, the same fitting of arguments, the same
conversion of values on the way in and out. What works here works in a pool, but for what needs
several processes.

    from snakepit.testing import run

    def test_greet():
        with run("my_adapter") as adapter:
            assert adapter.call("greet", name="Ada") == "Hello, Ada."
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from types import ModuleType
from typing import TYPE_CHECKING, Any

from snakepit._context import current
from snakepit._lifecycle import Lifecycle
from snakepit._native import CurrentCall, Tool, nearest, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping


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
    ) -> None:
        self._lifecycle = lifecycle
        self._options = options
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
        return LocalAdapter(self._lifecycle, self.tools, self.progress, options)

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
        call, context, result = self._enter(tool, args, kwargs)
        if tool.is_async:
            result = self._lifecycle.runner().run(result, context, call)
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
        call, context, generator = self._enter(tool, args, kwargs)
        if tool.is_async:
            items = _Items()
            self._lifecycle.runner().stream(generator, context, call, items)
            return iter(items.items)
        return _iterate(context, generator)

    def _tool(self, command: str, *, streaming: bool) -> Tool:
        tool = self.tools.get(command)
        if tool is None:
            near = nearest(command, list(self.tools))
            hint = f"; did you mean `{near}`?" if near else ""
            raise LookupError(f"the adapter has no tool `{command}`{hint}")
        if tool.streaming != streaming:
            what = "yields a stream: use `stream`" if tool.streaming else "returns: use `call`"
            raise TypeError(f"tool `{command}` {what}")
        return tool

    def _enter(
        self, tool: Tool, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[CurrentCall, Context, Any]:
        if args and kwargs:
            raise TypeError("a call has arguments by position or by name, not both")
        given = kwargs or list(args) or None
        bound_args, bound_kwargs = tool.bind(unpack(pack(given)))

        def note(done: float, total: float, message: str) -> None:
            self.progress.append(Progress(tool.name, done, total, message))

        call = CurrentCall.local(
            tool.name,
            note,
            timeout=self._options.timeout,
            session_id=self._options.session_id,
            metadata=dict(self._options.metadata),
        )
        context = copy_context()
        context.run(current.set, call)
        return call, context, context.run(tool.function, *bound_args, **bound_kwargs)


@contextmanager
def run(
    adapter: str | ModuleType | type,
    *,
    preload: bool = True,
    **adapter_args: Any,
) -> Generator[LocalAdapter]:
    """Starts an adapter, and ends it at the end of the block.

    Args:
        adapter: The adapter's name as a host would give it, its module, or its class.
        preload: Whether its `preload` runs.
        **adapter_args: What its class is made with.

    Yields:
        The adapter, ready for calls.
    """
    lifecycle = Lifecycle()
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
        yield LocalAdapter(lifecycle, tools, [], _CallOptions())
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
