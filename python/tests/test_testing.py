"""The showcase, and adapters of all kinds, run without a host."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import snakepit
from snakepit import Adapter, ArgumentsError, Cancelled, context, tool
from snakepit.testing import Progress, run, run_threads

SEEN: list[str] = []
VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Everything(Adapter):
    def __init__(self, greeting: str = "Hello") -> None:
        self.greeting = greeting
        self.task: asyncio.Task[None] | None = None

    @classmethod
    def preload(cls) -> None:
        SEEN.append("preload")

    async def setup(self) -> None:
        SEEN.append("setup")
        VARIABLE.set("from setup")

    async def teardown(self) -> None:
        SEEN.append("teardown")

    @tool
    def greet(self, name: str) -> str:
        return f"{self.greeting}, {name}."

    @tool
    def about(self) -> dict[str, Any]:
        remaining = context.remaining
        return {
            "command": context.command,
            "session": context.session_id,
            "metadata": context.metadata,
            "deadline": context.deadline is not None,
            "remaining": None if remaining is None else 0 < remaining <= 5,
            "cancelled": context.cancelled,
            "id": context.call_id,
        }

    @tool
    def variable(self, value: str) -> str:
        before = VARIABLE.get()
        VARIABLE.set(value)
        return before

    @tool
    def count(self, n: int) -> Iterator[int]:
        try:
            for index in range(n):
                context.progress(index, n, "counting")
                yield index
        finally:
            SEEN.append("closed")

    @tool
    async def sleepy(self, seconds: float) -> str:
        try:
            await asyncio.sleep(seconds)
        finally:
            SEEN.append("woken")
        return context.command

    @tool
    async def trickle(self, n: int) -> AsyncIterator[int]:
        for index in range(n):
            await asyncio.sleep(0)
            yield index

    @tool
    def stubborn(self) -> None:
        try:
            context.check_cancelled()
        except Exception:
            raise AssertionError("it must get through") from None


@pytest.fixture(autouse=True)
def _forget() -> None:
    SEEN.clear()


def test_an_adapter_lives_from_preload_to_teardown() -> None:
    with run(Everything, greeting="Hi") as adapter:
        assert SEEN == ["preload", "setup"]
        assert adapter.call("greet", name="Ada") == "Hi, Ada."
        assert adapter.call("greet", "Ada") == "Hi, Ada."
    assert SEEN == ["preload", "setup", "teardown"]


@pytest.mark.parametrize(
    ("said", "well"), [(None, True), (True, True), ({"load": 0.0}, True), (False, False)]
)
def test_an_adapter_says_how_it_is(said: object, well: bool) -> None:
    class Sync(Everything):
        def health(self) -> object:
            return said

    class Async(Everything):
        async def health(self) -> object:
            await asyncio.sleep(0)
            return said

    class Broken(Everything):
        def health(self) -> object:
            raise ConnectionError("no database")

    for adapter in (Sync, Async):
        with run(adapter) as running:
            assert running.health() is well
    with run(Everything) as running:
        assert running.health() is True
    with run(Broken) as running, pytest.raises(ConnectionError, match="no database"):
        running.health()


def test_a_tool_knows_its_call() -> None:
    with run(Everything) as adapter:
        assert adapter.call("about") == {
            "command": "about",
            "session": None,
            "metadata": {},
            "deadline": False,
            "remaining": None,
            "cancelled": False,
            "id": 1,
        }
        calling = adapter.calling(timeout=5, session_id="s", metadata={"k": "v"})
        assert calling.call("about") == {
            "command": "about",
            "session": "s",
            "metadata": {"k": "v"},
            "deadline": True,
            "remaining": True,
            "cancelled": False,
            "id": 1,
        }


def test_outside_a_call_the_context_is_neutral() -> None:
    assert (context.call_id, context.command, context.session_id) == (0, "", None)
    assert (context.deadline, context.remaining, context.cancelled) == (None, None, False)
    assert (context.metadata, context.traceparent) == ({}, None)
    context.check_cancelled()
    context.progress(1)


def test_context_variables_do_not_pass_from_call_to_call() -> None:
    with run(Everything) as adapter:
        assert adapter.call("variable", "a") == adapter.call("variable", "b")


def test_streams_yield_their_items_and_are_closed() -> None:
    with run(Everything) as adapter:
        assert list(adapter.stream("count", n=3)) == [0, 1, 2]
        assert adapter.progress == [Progress("count", i, 3, "counting") for i in range(3)]
        items = adapter.stream("count", n=3)
        assert next(items) == 0
        SEEN.clear()
        items.close()  # type: ignore[attr-defined]
        assert SEEN == ["closed"]
        assert list(adapter.stream("trickle", n=3)) == [0, 1, 2]


def test_a_coroutine_is_cancelled_at_its_deadline() -> None:
    with run(Everything) as adapter:
        assert adapter.call("sleepy", seconds=0) == "sleepy"
        SEEN.clear()
        with pytest.raises(Cancelled):
            adapter.calling(timeout=0.01).call("sleepy", seconds=60)
        assert SEEN == ["woken"]


def test_a_cancelled_call_passes_except_exception() -> None:
    with run(Everything) as adapter, pytest.raises(Cancelled):
        adapter.calling(timeout=0).call("stubborn")


def test_wrong_use_is_explained() -> None:
    with run(Everything) as adapter:
        with pytest.raises(LookupError, match=r"did you mean `greet`\?"):
            adapter.call("gret")
        with pytest.raises(TypeError, match="use `stream`"):
            adapter.call("count", n=1)
        with pytest.raises(TypeError, match="use `call`"):
            adapter.stream("greet", name="x")
        with pytest.raises(ArgumentsError, match="missing argument `name`"):
            adapter.call("greet")


def test_a_module_is_an_adapter() -> None:
    module = types.ModuleType("some_module")

    @tool
    def triple(x: int) -> int:
        return 3 * x

    triple.__module__ = "some_module"
    module.triple = triple  # type: ignore[attr-defined]
    module.setup = lambda: SEEN.append("module setup")  # type: ignore[attr-defined]
    with run(module) as adapter:
        assert SEEN == ["module setup"]
        assert adapter.call("triple", x=2) == 6
    with (
        pytest.raises(snakepit._errors.StartError, match="no class to take them"),
        run(module, a=1),
    ):  # type: ignore[attr-defined]
        pass


def test_preload_must_not_need_an_object() -> None:
    class Wrong:
        def preload(self) -> None: ...

        @tool
        def a(self) -> None: ...

    with pytest.raises(snakepit._errors.StartError, match="@classmethod"), run(Wrong):  # type: ignore[attr-defined]
        pass


def test_the_showcase_shows() -> None:
    with run("snakepit.showcase") as adapter:
        assert adapter.call("ping")["status"] == "pong"
        assert adapter.call("add", a=5, b=3) == 8
        assert adapter.call("echo", value={"a": [1, None]}) == {"a": [1, None]}
        assert adapter.call("cpu_bound", n=100) == 25
        assert adapter.call("sleep", seconds=0.01) >= 0.01
        assert adapter.call("async_sleep", seconds=0.01) >= 0.01
        assert adapter.call("slow_steps", steps=2, step_seconds=0) == {"steps": 2}
        squares = [{"index": i, "square": i * i} for i in range(3)]
        assert list(adapter.stream("stream", count=3)) == squares
        assert list(adapter.stream("async_stream", count=3)) == squares
        with pytest.raises(KeyError) as caught:
            adapter.call("error", kind="KeyError", message="lost")
        assert isinstance(caught.value.__cause__, LookupError)
        with pytest.raises(RuntimeError):
            adapter.call("error", kind="exit")
        assert [adapter.calling(session_id=s).call("counter") for s in "aba"] == [1, 1, 2]


def test_what_a_tool_keeps_belongs_to_its_session_and_the_adapter_hears_of_its_end() -> None:
    class Keeps:
        def __init__(self) -> None:
            self.over: list[tuple[str, dict[str, Any]]] = []

        async def session_ended(self, session_id: str, session: dict[str, Any]) -> None:
            self.over.append((session_id, session))

        @snakepit.tool
        def keep(self, value: int) -> list[int]:
            kept: list[int] = snakepit.context.session.setdefault("kept", [])
            kept.append(value)
            return kept

        @snakepit.tool
        def ended(self) -> list[Any]:
            return self.over

    with run(Keeps) as adapter:
        ada, bob = adapter.calling(session_id="ada"), adapter.calling(session_id="bob")
        assert [each.call("keep", value=n) for n, each in enumerate((ada, bob, ada))] == [
            [0],
            [1],
            [0, 2],
        ]
        assert [adapter.call("keep", value=n) for n in range(2)] == [[0], [1]], "no session"
        adapter.end_session("ada")
        adapter.end_session("nobody")
        assert adapter.call("ended") == [["ada", {"kept": [0, 2]}]]
        assert ada.call("keep", value=3) == [3]
    assert snakepit.context.session == {}, "outside of a call"


def test_the_showcase_counts_in_many_threads_and_forgets_old_sessions() -> None:
    with run_threads("snakepit.showcase", threads=4) as adapter:
        counting = adapter.calling(session_id="s")
        adapter.together(lambda _each, _: counting.call("counter"), times=50)
        assert counting.call("counter", amount=0) == 200
        adapter.end_session("s")
        assert counting.call("counter") == 1
        assert adapter.report.findings == []


def test_host_tools_are_played_by_functions() -> None:
    def lookup(key: str) -> tuple[str, int]:
        """Looks something up."""
        if key == "missing":
            raise snakepit.ToolError("no such key", kind="not_found", details={"key": key})
        return key.upper(), len(key)

    class Enrich:
        @snakepit.tool
        def plain(self, key: str) -> object:
            return snakepit.context.call_tool("lookup", key=key)

        @snakepit.tool
        async def awaited(self, key: str) -> object:
            return await snakepit.context.call_tool_async("lookup", key=key)

        @snakepit.tool
        def failed(self, name: str) -> list[object]:
            try:
                snakepit.context.call_tool(name, key="missing")
            except snakepit.ToolError as error:
                return [error.kind, error.details, list(snakepit.context.tools)]
            return []

    with run(Enrich, host_tools={"lookup": lookup}) as adapter:
        # A tuple comes back as a list, as it would from a host.
        assert adapter.call("plain", key="a") == ["A", 1]
        assert adapter.call("awaited", key="bc") == ["BC", 2]
        assert adapter.call("failed", name="lookup") == [
            "not_found",
            {"key": "missing"},
            ["lookup"],
        ]
        assert adapter.call("failed", name="lokup")[0] == "tool_not_found"


def test_host_tools_need_a_call() -> None:
    with pytest.raises(RuntimeError, match="during a call"):
        snakepit.context.call_tool("lookup")
    assert snakepit.context.tools == {}


def test_the_showcase_asks_the_host() -> None:
    with run("snakepit.showcase", host_tools={"double": lambda n: 2 * n}) as adapter:
        for command in ("ask_host", "async_ask_host"):
            assert adapter.call(command, name="double", arguments={"n": 21}) == 42
        assert adapter.call("host_tools") == {"double": ""}
