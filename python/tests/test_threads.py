"""Adapters that several threads call: the declaration, the base class, the checker."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import pickle
import subprocess
import sys
import threading
import types
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

import snakepit
from snakepit import Adapter, ThreadSafeAdapter, ThreadSafetyError, thread_safe_method, tool
from snakepit._errors import StartError
from snakepit.testing import ThreadSafetyWarning, run, run_threads

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class Careless(Adapter):
    __thread_safe__ = True
    __unguarded__ = ("latest",)

    def __init__(self) -> None:
        self.total = 0
        self.latest = 0
        self.names: list[str] = []
        self.by_name: defaultdict[str, int] = defaultdict(int)

    @tool
    def add(self, amount: int) -> int:
        self.total += amount
        return self.total

    @tool
    def look(self) -> int:
        return self.total

    @tool
    def replace(self, value: int) -> int:
        before, self.latest = self.latest, value
        return before

    @tool
    def remember(self, name: str) -> int:
        self.names.append(name)
        return len(self.names)

    @tool
    def count(self, name: str) -> int:
        self.by_name[name] += 1
        return self.by_name[name]

    @tool
    def everything(self) -> dict[str, Any]:
        return {"names": self.names, "by_name": self.by_name}


class Careful(ThreadSafeAdapter):
    def setup(self) -> None:
        self.total = 0
        self.names: dict[str, int] = {}
        self.model = {"loaded": True}
        self._own = threading.Lock()
        self._condition = threading.Condition()
        self.meeting = threading.Barrier(3)

    @tool
    @thread_safe_method
    def add(self, amount: int) -> int:
        with self.lock():
            self.total += amount
            return self.total

    @tool
    @thread_safe_method(lock="names")
    def remember(self, name: str) -> int:
        self.names[name] = self.names.get(name, 0) + 1
        return self.names[name]

    @tool
    def forget(self) -> None:
        with self.lock("names"):
            self.names.clear()

    @tool
    def with_own_lock(self, amount: int) -> int:
        with self._own:
            self.total += amount
            return self.total

    @tool
    def with_own_condition(self, amount: int) -> int:
        with self._condition:
            self.total += amount
            self._condition.notify_all()
            return self.total

    @tool
    def infer(self) -> bool:
        return self.model["loaded"]

    @tool
    def mine(self) -> int:
        self.local.calls = getattr(self.local, "calls", 0) + 1
        return self.local.calls

    @thread_safe_method
    @tool
    def meet(self) -> None:
        self.meeting.wait()

    @tool
    @thread_safe_method
    def numbers(self, n: int) -> Iterator[int]:
        yield from range(n)

    @tool
    @thread_safe_method
    async def wait(self, value: int) -> int:
        await asyncio.sleep(0)
        return value

    @tool
    @thread_safe_method
    async def trickle(self, n: int) -> AsyncIterator[int]:
        for index in range(n):
            await asyncio.sleep(0)
            yield index

    @tool
    def stats(self) -> dict[str, Any]:
        return self.thread_stats()


def test_an_undeclared_adapter_is_refused_where_several_calls_run_at_once() -> None:
    class Silent:
        @tool
        def a(self) -> None: ...

    class Denies(Careful):
        __thread_safe__ = False

    class Confused(Careful):
        __thread_safe__ = "yes"  # type: ignore[assignment]

    for adapter, said in (
        (Silent, "does not say that it is thread-safe, but this worker runs 4 calls at a time"),
        (Denies, "says that it is not thread-safe"),
        (Confused, "is 'yes', neither True nor False"),
    ):
        with pytest.raises(StartError, match=said) as caught, run_threads(adapter):
            pass
        assert caught.value.phase == "discover"
        assert "ThreadSafeAdapter" in caught.value.help
        assert "process profile" in caught.value.help
        with pytest.raises(ThreadSafetyError, match=r"thread.safe"):
            snakepit.require_thread_safe(adapter)
        with run(adapter):
            pass
    assert snakepit.require_thread_safe(Careful) is Careful
    with run_threads(Careless, threads=2), run_threads(Careful, threads=2):
        pass


def test_a_module_declares_its_functions_and_a_class_itself() -> None:
    module = types.ModuleType("some_module")

    @tool
    def triple(x: int) -> int:
        return 3 * x

    triple.__module__ = "some_module"
    module.triple = triple  # type: ignore[attr-defined]
    with pytest.raises(StartError, match="module `some_module`") as caught, run_threads(module):
        pass
    assert "`__thread_safe__ = True` into the module" in caught.value.help
    module.__thread_safe__ = True  # type: ignore[attr-defined]
    with pytest.warns(ThreadSafetyWarning, match="has no class"), run_threads(module) as adapter:
        assert sorted(adapter.together(lambda each, i: each.call("triple", i))) == [0, 3, 6, 9]

    class Silent:
        @tool
        def b(self) -> None: ...

    Silent.__module__ = "some_module"
    module.Silent = Silent  # type: ignore[attr-defined]
    with pytest.raises(StartError, match="Silent"), run_threads(module):
        pass


def test_a_refusal_comes_before_the_adapter_is_loaded(adapter_file: Callable[..., Path]) -> None:
    source = "import snakepit\n\n@snakepit.tool\ndef a(): ...\n\ndef preload(): raise OSError\n"
    with pytest.raises(StartError, match="thread-safe"), run_threads(str(adapter_file(source))):
        pass


def test_guarded_state_passes_the_strict_check_and_loses_nothing() -> None:
    with run_threads(Careful, threads=4) as adapter:
        adapter.together(lambda each, _: each.call("add", amount=1), times=50)
        adapter.together(lambda each, i: each.call("remember", f"n{i % 2}"), times=20)
        adapter.together(lambda each, _: each.call("forget"))
        assert all(adapter.together(lambda each, _: each.call("infer"), times=10))
        assert adapter.call("add", 0) == 200
        assert adapter.report.findings == []
        assert adapter.report.threads >= 4
        assert "nothing found" in adapter.report.to_text()


@pytest.mark.parametrize("command", ["with_own_lock", "with_own_condition"])
def test_a_lock_of_the_adapters_own_counts(command: str) -> None:
    with run_threads(Careful) as adapter:
        adapter.together(lambda each, _: each.call(command, amount=1), times=20)
        assert adapter.call(command, amount=0) == 80
        # The same state under another lock is not guarded.
        with pytest.raises(ThreadSafetyError, match="holding `state`") as caught:
            adapter.together(lambda each, _: each.call("add", amount=1))
        name = "_own" if command == "with_own_lock" else "_condition"
        assert f"holding `{name}`" in str(caught.value)


def test_each_thread_has_its_own_local_state() -> None:
    with run_threads(Careful, threads=3) as adapter:
        counted = adapter.together(lambda each, _: each.call("mine"), times=5)
        assert sorted(counted) == sorted([1, 2, 3, 4, 5] * 3)


def test_statistics_count_calls_threads_and_waits() -> None:
    with run_threads(Careful, threads=3) as adapter:
        adapter.together(lambda each, _: each.call("meet"), times=2)
        stats = adapter.call("stats")
        assert (stats["calls"], stats["running"], stats["peak"]) == (6, 0, 3)
        assert sorted(stats["by_thread"].values()) == [2, 2, 2]
        assert list(adapter.stream("numbers", n=3)) == [0, 1, 2]
        assert adapter.call("wait", value=7) == 7
        assert list(adapter.stream("trickle", n=3)) == [0, 1, 2]
        stats = adapter.call("stats")
        assert (stats["calls"], stats["running"]) == (9, 0)


def test_a_lock_counts_how_often_it_was_waited_for() -> None:
    lock = Careful().lock("some")
    with lock, lock:
        assert lock.held
        waiting = threading.Thread(target=lock.acquire)
        waiting.start()
        # It has tried without waiting by then, or it tries while the lock is held.
        while not waiting.is_alive():
            pass
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join()
    assert not lock.held
    assert (lock.acquired, lock.waits) == (3, 1)
    assert lock.wait_seconds > 0
    with pytest.raises(RuntimeError, match="not held by this thread"):
        lock.release()


def test_of_many_threads_that_ask_first_all_get_one_lock() -> None:
    for _ in range(50):
        adapter, found, ready = Careful(), [], threading.Barrier(4)

        def ask(adapter: Careful = adapter, found: list[Any] = found, ready: Any = ready) -> None:
            ready.wait()
            found.append(adapter.lock())

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len({id(lock) for lock in found}) == 1


def test_no_lock_is_held_while_a_coroutine_or_generator_waits() -> None:
    with pytest.raises(TypeError, match="whenever it waits"):

        @thread_safe_method(lock="state")
        async def a(self: Any) -> None: ...

    with pytest.raises(TypeError, match=r"with self.lock\('x'\)"):

        @thread_safe_method(lock="x")
        def b(self: Any) -> Iterator[int]:
            yield self


@pytest.mark.parametrize(
    ("command", "argument", "name", "advice"),
    [
        ("add", 1, "`total`", "self.local.total"),
        ("remember", "a", "what is in `names`", "__unguarded__ = ('names',)"),
        ("count", "a", "what is in `by_name`", "with self.lock():"),
    ],
)
def test_unguarded_state_fails_the_call_with_both_stacks(
    command: str, argument: Any, name: str, advice: str
) -> None:
    with run_threads(Careless, threads=2) as adapter:
        with pytest.raises(ThreadSafetyError) as caught:
            adapter.together(lambda each, _: each.call(command, argument))
        said = str(caught.value)
        assert said.startswith(f"Careless: two threads use {name} and hold no lock in common")
        assert advice in said
        # Two stacks, each of the tool's own frames only.
        assert said.count(f"in tool `{command}`") == 2
        assert said.count(f", in {command}\n") == 2
        assert "_threadcheck" not in said
        assert "testing.py" not in said
        finding = adapter.report.findings[0]
        assert finding.first.thread != finding.second.thread
        assert finding.second.stack[-1][2] == command
        found = json.loads(adapter.report.to_json())
        assert found["findings"][0]["second"]["command"] == command
        assert found["mode"] == "strict"


def test_calls_that_did_not_meet_are_found_all_the_same() -> None:
    with run_threads(Careless, threads=1) as adapter:
        adapter.together(lambda each, _: each.call("add", 1))
        with pytest.raises(ThreadSafetyError):
            adapter.together(lambda each, _: each.call("look"))


def test_reading_alone_and_unguarded_names_are_no_finding() -> None:
    with run_threads(Careless) as adapter:
        assert set(adapter.together(lambda each, _: each.call("look"), times=5)) == {0}
        adapter.together(lambda each, i: each.call("replace", i), times=5)
        assert adapter.report.findings == []


def test_a_warning_lets_the_call_go_on_and_is_told_once() -> None:
    with run_threads(Careless, threads=1, check="warn") as adapter:
        assert adapter.call("add", 1) == 1
        with pytest.warns(ThreadSafetyWarning, match="two threads use `total`") as told:
            assert adapter.together(lambda each, _: each.call("add", 1), times=2) == [2, 3]
        findings = adapter.report.findings
        assert {finding.name for finding in findings} == {"total"}
        assert len(told) == len(findings)
        assert sum(finding.times for finding in findings) > len(findings)
        assert adapter.report.to_text().count("hold no lock in common") == len(findings)


def test_a_thread_of_the_adapters_own_is_warned_and_goes_on() -> None:
    class Background(Careless):
        def setup(self) -> None:
            self.wanted, self.done = threading.Event(), threading.Event()
            self.thread = threading.Thread(target=self.refresh)
            self.thread.start()

        def refresh(self) -> None:
            self.wanted.wait()
            self.names.append("refreshed")
            self.done.set()

        def teardown(self) -> None:
            self.wanted.set()
            self.thread.join()

        @tool
        def refreshed(self) -> list[str]:
            self.wanted.set()
            self.done.wait()
            return self.names

    def refresh() -> None:
        with run_threads(Background, threads=2) as adapter:
            adapter.call("remember", "a")
            assert adapter.call("refreshed") == ["a", "refreshed"]
            finding = adapter.report.findings[0]
            assert (finding.first.command, finding.second.command) == ("remember", "")

    # Around it all: free-threaded threads have the warnings of whoever starts them.
    with pytest.warns(ThreadSafetyWarning, match="what is in `names`"):
        refresh()


SHARED: dict[str, int] = {}


def test_watched_containers_are_what_they_were() -> None:
    class Containers(Careless):
        def setup(self) -> None:
            self.recent = deque([1, 2, 3], maxlen=3)
            self.tags = {"a"}
            self.shared = SHARED

        @tool
        def check(self) -> list[str]:
            self.recent.append(4)
            self.tags |= {"b"}
            self.shared["here"] = 1
            self.by_name["new"] += 1
            for value in (self.recent, self.tags, self.names, self.by_name):
                plain = copy.copy(value)
                assert plain == value
                assert type(plain).__module__ in ("builtins", "collections")
                assert pickle.loads(pickle.dumps(value)) == value
            assert self.recent.maxlen == 3
            assert isinstance(self.by_name, defaultdict)
            return sorted(self.tags)

    with run_threads(Containers) as adapter:
        assert adapter.call("check") == ["a", "b"]
        assert adapter.call("everything") == {"names": [], "by_name": {"new": 1}}
        # What others refer to stays theirs.
        assert SHARED == {"here": 1}


def test_an_object_that_cannot_be_watched_is_refused_with_a_reason() -> None:
    class Slotted:
        __slots__ = ("total",)
        __thread_safe__ = True

        def __init__(self) -> None:
            self.total = 0

        @tool
        def add(self) -> None:
            self.total += 1

    with pytest.raises(StartError, match="has no `__dict__`"), run_threads(Slotted):
        pass
    with run_threads(Slotted, check="off") as adapter:
        adapter.together(lambda each, _: each.call("add"))


def test_nothing_is_watched_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Shown(Careless):
        @tool
        def is_itself(self) -> bool:
            return type(self) is Shown and type(self.names) is list

    with run(Shown) as adapter:
        assert adapter.call("is_itself")
    with run_threads(Shown, check="off") as adapter:
        assert adapter.call("is_itself")
        assert adapter.report.mode == "off"
    monkeypatch.setenv("SNAKEPIT_THREAD_CHECK", "strict")
    with run(Shown) as adapter:
        assert not adapter.call("is_itself")
    monkeypatch.setenv("SNAKEPIT_THREAD_CHECK", "sometimes")
    with pytest.raises(StartError, match="is `sometimes`; set it to warn or strict"), run(Shown):
        pass
    loaded = "import snakepit.worker, sys; print([m for m in sys.modules if 'snakepit._thr' in m])"
    worker = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    assert worker.stdout.strip() == "[]"


def test_the_report_is_written_where_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SNAKEPIT_THREAD_REPORT", str(tmp_path))
    with run_threads(Careless, threads=2) as adapter:
        with pytest.raises(ThreadSafetyError):
            adapter.together(lambda each, _: each.call("add", 1))
        (path,) = tmp_path.iterdir()
        assert path.name == f"thread-check-Careless-{os.getpid()}.json"
        assert json.loads(path.read_text())["findings"], "as soon as there is one"
        assert adapter.together(lambda each, _: each.call("replace", 1))
    assert json.loads(path.read_text())["accesses"] == adapter.report.accesses
    monkeypatch.setenv("SNAKEPIT_THREAD_REPORT", str(tmp_path / "missing"))
    with pytest.warns(UserWarning, match="no thread report"), run_threads(Careless):
        pass
