"""Adapters written for the original run unmodified."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snakepit import Cancelled, ToolError
from snakepit._errors import StartError
from snakepit.testing import run, run_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ADAPTERS = Path(__file__).parents[2] / "snakepit" / "tests" / "adapters" / "original"


def adapter(name: str) -> str:
    return str(ADAPTERS / name)


@pytest.fixture(autouse=True)
def fresh_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Has each test import its adapter anew: their state is in the module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name, module in list(sys.modules.items()):
        if str(ADAPTERS) in str(getattr(module, "__file__", None)):
            del sys.modules[name]


def test_marked_methods_are_tools_with_their_parameters() -> None:
    with run(adapter("calculator.py")) as calculator:
        assert "helper" not in calculator.tools
        assert "*" not in calculator.tools
        add = calculator.tools["add"]
        assert add.description == "Adds two numbers"
        assert '"required":["a","b"]' in add.parameters_schema
        assert calculator.tools["scale"].description == "Multiplies each of some numbers."
        assert calculator.call("add", a=5, b=3) == 8


def test_hints_are_not_held_against_arguments() -> None:
    with run(adapter("calculator.py")) as calculator:
        # `values: list = None`, and a caller who says so.
        assert calculator.call("scale", values=None, by=3) == [3, 6]
        assert calculator.call("predict", inputs='{"a": 1}')["kind"] == "str"
        assert type(calculator.call("add", a=5, b=3)) is int


def test_names_of_arguments_are() -> None:
    with run(adapter("calculator.py")) as calculator:
        with pytest.raises(TypeError, match="unexpected argument `c`"):
            calculator.call("add", a=5, c=3)
        assert calculator.call("echo", anything="goes") == {"echoed": {"anything": "goes"}}


def test_each_call_has_an_object_of_its_own_and_the_hooks_around_it() -> None:
    with run(adapter("calculator.py")) as calculator:
        calculator.call("journal")
        assert [calculator.call("object_calls"), calculator.call("object_calls")] == [1, 1]
        hooks = calculator.calling(session_id="s-1").call("journal")
        assert hooks[:5] == ["cleaned up", "made", "session default", "initialized", "cleaned up"]
        assert hooks[-3:] == ["made", "session s-1", "initialized"]


def test_cleanup_runs_after_a_failure() -> None:
    with run(adapter("calculator.py")) as calculator:
        calculator.call("journal")
        with pytest.raises(ValueError, match="as asked"):
            calculator.call("fail")
        assert calculator.call("journal")[-4] == "cleaned up"


def test_session_and_metadata_reach_the_adapter() -> None:
    with run(adapter("calculator.py")) as calculator:
        caller = calculator.calling(session_id="s-1", metadata={"trace": "7"})
        assert caller.call("whoami") == {"session_id": "s-1", "metadata": {"trace": "7"}}
        assert calculator.call("whoami") == {"session_id": "default", "metadata": {}}


def test_execute_tool_alone_takes_every_name() -> None:
    with run(adapter("by_name.py")) as by_name:
        assert list(by_name.tools) == ["*"]
        assert by_name.call("add", a=5, b=3) == 8
        assert by_name.call("echo", tool_name="x", self=1) == {"tool_name": "x", "self": 1}
        caller = by_name.calling(session_id="s-1", metadata={"k": "v"})
        assert caller.call("where") == ["s-1", "s-1", {"k": "v"}]
        with pytest.raises(NotImplementedError, match="Unknown tool: nothing"):
            by_name.call("nothing")


def test_execute_tool_decides_at_each_call_whether_it_streams() -> None:
    with run(adapter("by_name.py")) as by_name:
        assert list(by_name.stream("count", to=4)) == [0, 1, 2, 3]
        assert list(by_name.stream("rows")) == [{"row": 1}, {"row": 2}]
        assert by_name.call("rows") == [{"row": 1}, {"row": 2}]
        assert list(by_name.stream("echo", a=1)) == [{"a": 1}]
        with pytest.raises(TypeError, match="use `stream`"):
            by_name.call("count")


def test_an_own_execute_tool_has_the_word_for_marked_methods_too(
    adapter_file: Callable[..., Path],
) -> None:
    source = """
    from snakepit_bridge.base_adapter import BaseAdapter, tool

    class Both(BaseAdapter):
        def execute_tool(self, name, args, ctx):
            if name == "upper":
                return "through execute_tool: " + self.call_tool(name, text=args["text"])
            return super().execute_tool(name, args, ctx)

        @tool(description="Upper case")
        def upper(self, text: str) -> str:
            return text.upper()

        @tool()
        async def lower(self, text: str) -> str:
            return text.lower()
    """
    path = adapter_file(textwrap.dedent(source))
    with run(str(path)) as both:
        assert list(both.tools) == ["upper", "lower", "*"]
        said = both.call("upper", text="a", more="than the signature takes")
        assert said == "through execute_tool: A"
        assert both.call("lower", text="A") == "a"
        with pytest.raises(AttributeError, match="has no tool `other`"):
            both.call("other")


def test_every_step_may_be_a_coroutine_function() -> None:
    with run(adapter("waits.py")) as waits:
        # What `initialize` has put into a context variable is seen by `execute_tool`.
        assert waits.calling(session_id="s").call("state") == [True, "initialized", "s"]
        assert list(waits.stream("ticks", count=2)) == [{"tick": 0}, {"tick": 1}]
        assert waits.call("journal") == ["cleaned up", "cleaned up"]


def test_cleanup_runs_after_an_asynchronous_stream_has_failed() -> None:
    with run(adapter("waits.py")) as waits:
        with pytest.raises(RuntimeError, match="no tick 1"):
            list(waits.stream("ticks", fail_at=1))
        assert waits.call("journal") == ["cleaned up"]


def test_cleanup_runs_after_a_call_ran_out_of_time() -> None:
    with run(adapter("waits.py")) as waits:
        with pytest.raises(Cancelled):
            waits.calling(timeout=0.05).call("stuck")
        assert waits.call("journal") == ["cleaned up"]


def test_chunks_are_taken_out_of_their_wrapping() -> None:
    with run(adapter("streams.py")) as streams:
        assert streams.tools["stream_data"].streaming
        assert not streams.tools["journal"].streaming
        items = list(streams.stream("stream_data", count=2))
        assert items == [{"index": 1, "total": 2}, {"index": 2, "total": 2}]
        assert list(streams.stream("async_data", count=2)) == [{"index": 0}, {"index": 1}]
        assert streams.call("journal") == ["closed", "cleaned up"] * 2


def test_what_says_that_it_streams_may_return() -> None:
    with run(adapter("streams.py")) as streams:
        assert streams.call("search", query="q") == {"results": [], "query": "q"}
        assert list(streams.stream("search", query="q")) == [{"results": [], "query": "q"}]


def test_a_stream_left_early_is_closed_and_cleaned_up() -> None:
    with run(adapter("streams.py")) as streams:
        stream = streams.stream("stream_data", count=1000)
        assert next(stream)["index"] == 1
        stream.close()  # type: ignore[attr-defined]
        assert streams.call("journal") == ["closed", "cleaned up"]
        with pytest.raises(RuntimeError, match="broken off"):
            list(streams.stream("breaks"))
        assert streams.call("journal")[-1] == "cleaned up"


def test_a_store_in_the_module_outlives_the_objects() -> None:
    with run(adapter("programs.py")) as programs:
        mine, other = programs.calling(session_id="mine"), programs.calling(session_id="other")
        made = mine.call("create_program", name="p", program_type="predict", temperature=0.5)
        assert made["success"] is True
        ran = mine.call("execute_program", name="p", inputs={"question": "why"})
        assert ran["result"] == {"question": "why", "by": "predict", "temperature": 0.5}
        ran = other.call("execute_program", name="p", inputs={})
        assert ran == {"success": False, "error": "Program not found: p"}


def test_a_thread_safe_adapter_is_one_object_with_its_locks() -> None:
    with run_threads(adapter("threaded.py") + ":ThreadedAdapter") as threaded:
        totals = threaded.together(lambda each, _: each.call("count"), times=25)
        assert sorted(totals) == list(range(1, 101))
        known = threaded.together(lambda each, _: each.call("cached", key="k"), times=2)
        assert sorted(known) == [False] * 4 + [True] * 4
        said = threaded.call("statistics")
        assert (said["total"], said["log"], said["thread_safe"]) == (100, 100, True)
        assert said["tracker"]["total_requests"] == 108
        assert said["tracker"]["threads_seen"] >= 4


def test_calls_at_the_same_time_see_their_own_sessions_through_one_object() -> None:
    def whose(each: object, index: int) -> str:
        return each.calling(session_id=f"s-{index}").call("whose")  # type: ignore[attr-defined]

    with run_threads(adapter("sessions.py"), threads=2) as sessions:
        assert sessions.together(whose) == ["s-0", "s-1"]


def test_an_adapter_that_is_not_declared_is_refused_by_several_threads() -> None:
    with (
        pytest.raises(StartError, match="does not say that it is thread-safe"),
        run_threads(adapter("threaded.py") + ":Undeclared"),
    ):
        pass
    with run_threads(adapter("by_name.py")) as by_name:
        assert by_name.together(lambda each, n: each.call("add", a=n, b=1)) == [1, 2, 3, 4]


def test_the_class_may_be_named_as_in_the_original(
    adapter_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = adapter_file((ADAPTERS / "calculator.py").read_text(), "dotted.py")
    monkeypatch.syspath_prepend(str(path.parent))
    with run("dotted.CalculatorAdapter") as calculator:
        assert calculator.call("add", a=1, b=1) == 2
    with (
        pytest.raises(StartError, match="has no class `CalculatorAdaptor`"),
        run("dotted.CalculatorAdaptor"),
    ):
        pass


def test_several_adapter_classes_must_be_told_apart(adapter_file: Callable[..., Path]) -> None:
    source = """
    class Base:
        def execute_tool(self, tool_name, arguments, context): ...

    class A(Base): ...
    class B(Base): ...
    """
    path = adapter_file(textwrap.dedent(source), "several.py")
    with pytest.raises(StartError, match="several classes with tools: A, B"), run(str(path)):
        pass
    with run(f"{path}:B") as chosen:
        assert chosen.call("x") is None


def test_hooks_of_other_adapters_are_not_taken_for_its_own(
    adapter_file: Callable[..., Path],
) -> None:
    source = """
    def preload(): raise AssertionError
    def setup(): raise AssertionError
    teardown = health = preload

    class Mine:
        def preload(self): raise AssertionError
        def execute_tool(self, tool_name, arguments, context): return "fine"
    """
    with run(str(adapter_file(textwrap.dedent(source), "hooks.py"))) as hooks:
        assert hooks.health()
        assert hooks.call("x") == "fine"


def test_stubs_say_what_to_use_instead() -> None:
    with (
        pytest.raises(ModuleNotFoundError, match="call_elixir_tool"),
        run(adapter("needs_stubs.py")),
    ):
        pass
    import snakepit_bridge  # type: ignore[import-not-found]

    assert not hasattr(snakepit_bridge, "no_such_name")
    with pytest.raises(ImportError, match="session store"):
        from snakepit_bridge import VariableType  # type: ignore[import-not-found]  # noqa: F401
    with pytest.raises(ImportError, match="`snakepit_bridge"):
        import snakepit_bridge.types  # type: ignore[import-not-found]
    with pytest.raises(AttributeError, match="call_elixir_tool"):
        _ = snakepit_bridge.SessionContext(None, "s").stub


def test_the_originals_package_is_found_in_workers_alone(tmp_path: Path) -> None:
    # One that is installed, and would bring grpcio along.
    package = tmp_path / "snakepit_bridge"
    (package / "adapters").mkdir(parents=True)
    (package / "__init__.py").write_text("import grpcio_that_turns_the_gil_on\n")
    (package / "adapters" / "__init__.py").write_text("")
    (package / "adapters" / "mine.py").write_text(
        "from snakepit_bridge.base_adapter import BaseAdapter, tool\n"
        "class MineAdapter(BaseAdapter):\n"
        "    @tool\n"
        "    def where(self):\n"
        "        import snakepit_bridge\n"
        "        return snakepit_bridge.__file__\n"
    )

    def python(code: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n{code}"],
            capture_output=True,
            text=True,
            check=False,
        )

    other = python("import snakepit, snakepit_bridge")
    assert "grpcio_that_turns_the_gil_on" in other.stderr
    worker = python(
        "from snakepit._lifecycle import Lifecycle\n"
        "worker = Lifecycle()\n"
        "worker.load('snakepit_bridge.adapters.mine.MineAdapter')\n"
        "print(worker.make({})[0].function())"
    )
    assert worker.stdout.strip().endswith("_original/path/snakepit_bridge/__init__.py"), (
        worker.stderr
    )


def test_adapters_of_this_package_load_nothing_of_it() -> None:
    code = (
        "import sys\n"
        "from snakepit._lifecycle import Lifecycle\n"
        "worker = Lifecycle()\n"
        "worker.load('snakepit.conformance')\n"
        "worker.make({})\n"
        "print([name for name in sys.modules if '_original' in name or '_bridge.' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "name",
    [
        "snakepit_bridge.adapters.showcase.ShowcaseAdapter",
        "snakepit_bridge.adapters.showcase.showcase_adapter.ShowcaseAdapter",
        "snakepit.showcase:Showcase",
    ],
)
def test_the_showcase_answers_by_the_originals_names(name: str) -> None:
    with run(name) as showcase:
        assert showcase.call("ping")["message"] == "pong"
        assert showcase.call("echo", message="hi", n=1) == {"echoed": {"message": "hi", "n": 1}}
        assert showcase.call("echo", value=5) == 5
        assert showcase.call("basic_add", a=5, b=3) == 8
        assert showcase.call("process_text", text="ab", operation="reverse")["result"] == "ba"
        assert showcase.call("process_text", text="a", operation="x")["success"] is False
        assert showcase.call("process_binary", data=b"abc")["size"] == 3
        session = showcase.calling(session_id="s")
        assert session.call("set_counter", value=7) == {"value": 7}
        assert session.call("increment_counter") == {"value": 8}
        assert session.call("counter") == 9
        assert showcase.call("get_counter") == {"value": 0}
        assert len(list(showcase.stream("stream_progress", steps=2, delay_ms=0))) == 2
        values = [item["value"] for item in showcase.stream("stream_fibonacci", count=6)]
        assert values == [0, 1, 1, 2, 3, 5]
        with pytest.raises(ValueError, match="a demonstration"):
            showcase.call("error_demo", error_type="value")
        assert showcase.call("get_stats")["system"]["memory_usage_mb"] > 0


def test_the_showcase_of_threads_shares_its_history() -> None:
    name = "snakepit_bridge.adapters.threaded_showcase.ThreadedShowcaseAdapter"
    with run_threads(name) as showcase:
        for _ in range(2):
            showcase.together(lambda each, _: each.call("compute_intensive", data=[1, 2.5]))
        stats = showcase.call("get_adapter_stats")
        assert stats["history_entries"] == 8
        assert stats["tracker"]["total_requests"] == 9
        assert showcase.call("get_history", limit=3)["total_entries"] == 8


def test_the_base_class_tells_of_its_tools() -> None:
    with run(adapter("calculator.py")):
        module = sys.modules["calculator"]
        tools = {each.name: each for each in module.CalculatorAdapter().get_tools()}
    assert {"add", "echo", "fail", "journal", "object_calls", "predict", "scale", "whoami"} == set(
        tools
    )
    assert [(p.name, p.type, p.required) for p in tools["add"].parameters] == [
        ("a", "float", True),
        ("b", "float", True),
    ]
    assert tools["scale"].parameters[1].validation_json == '{"default": 2.0}'
    assert tools["echo"].metadata["required_variables"] == "api_key"
    assert module.CalculatorAdapter().register_with_session("s", None) == sorted(tools)


def test_events_go_to_a_backend_that_was_set() -> None:
    from snakepit_bridge import telemetry  # type: ignore[import-not-found]

    told: list[tuple[str, dict[str, object], dict[str, object], str | None]] = []

    class Backend:
        def emit(self, *event: object) -> None:
            told.append(event)  # type: ignore[arg-type]

    before = telemetry.get_backend()
    telemetry.set_backend(Backend())
    try:
        with run(adapter("telling.py")) as telling:
            caller = telling.calling(metadata={"correlation_id": "c-1"})
            caller.call("predict", items=2)
            with pytest.raises(ValueError, match="no work"):
                caller.call("work", fail=True)
    finally:
        telemetry.set_backend(before)
    assert [event[0] for event in told] == [
        "prediction.made",
        "work.done.start",
        "work.done.exception",
    ]
    assert told[0][1:] == ({"items": 2, "score": 0.5}, {"model": "small"}, "c-1")
    assert told[2][2]["error_message"] == "no work today"
    assert telemetry.get_correlation_id() is None
    # Without a host, telling of something is no mistake.
    telemetry.emit("nobody.listens", {"n": 1})


def test_values_as_text_keep_the_originals_forms() -> None:
    import json

    from snakepit_bridge.serialization import (  # type: ignore[import-not-found]
        GracefulJSONEncoder,
        TypeSerializer,
    )

    class Plain:
        def to_dict(self) -> dict[str, int]:
            return {"a": 1}

    text = json.dumps({"plain": Plain(), "other": object()}, cls=GracefulJSONEncoder)
    assert json.loads(text) == {
        "plain": {"a": 1},
        "other": {"__ffi_unserializable__": True, "__type__": "builtins.object"},
    }
    for value, kind in ((1.5, "float"), (float("inf"), "float"), (7, "integer"), ("a", "string")):
        encoded, binary = TypeSerializer.encode_any(value, kind)
        assert binary is None
        assert TypeSerializer.decode_any(encoded) == value
    assert TypeSerializer.encode_any(float("nan"), "float")[0].value == b'"NaN"'
    for value, kind in (("a", "float"), (True, "integer"), (1, "boolean"), (1.5, "integer")):
        with pytest.raises(ValueError, match=f"expected {kind}"):
            TypeSerializer.encode_any(value, kind)
    # A pickle runs what it likes.
    with pytest.raises(ValueError, match="not unpickled"):
        TypeSerializer.decode_any(encoded, b"\x80\x04.")


def test_the_originals_checker_counts_threads() -> None:
    import threading

    from snakepit_bridge import thread_safety_checker as checks  # type: ignore[import-not-found]

    checks.enable_checking()
    try:

        @checks.check_thread_safe
        def shared() -> None: ...

        def quietly() -> None:
            import warnings

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)
                shared()

        quietly()
        thread = threading.Thread(target=quietly)
        thread.start()
        thread.join()
        report = checks.get_global_checker().get_report()
        assert report["concurrent_accesses"] == {"shared": 2}
        assert report["total_threads_seen"] == 2
        assert report["warnings"] == ["shared_concurrent"]
        strict = checks.ThreadSafetyChecker(strict_mode=True)
        strict.check_method_access("m")
        with pytest.raises(RuntimeError, match="sqlite3"):
            strict.check_library_safety({"sqlite3"})
        assert checks.check_common_pitfalls(type("A", (), {})()) == [
            "the class does not say `__thread_safe__`"
        ]
    finally:
        checks.disable_checking()


def test_an_object_that_serves_one_call_at_a_time_is_told_each_session(
    adapter_file: Callable[..., Path],
) -> None:
    source = """
    from snakepit_bridge import ThreadSafeAdapter, thread_safe_method, tool

    class Copies(ThreadSafeAdapter):
        def set_session_context(self, context):
            self.session_id = context.session_id

        @thread_safe_method
        @tool(description="Whose call this is")
        async def whose(self):
            return self.session_id
    """
    with run(str(adapter_file(textwrap.dedent(source), "copies.py"))) as copies:
        said = [copies.calling(session_id=each).call("whose") for each in ("a", "b")]
        assert [*said, copies.call("whose")] == ["a", "b", "default"]


def test_a_cleanup_that_fails_is_shown_and_harms_no_call(
    adapter_file: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    source = """
    from snakepit_bridge import BaseAdapter, StreamChunk, tool

    class Untidy(BaseAdapter):
        async def cleanup(self):
            raise OSError("the mess stays")

        @tool
        def work(self, n: int):
            return n

        @tool(supports_streaming=True)
        async def items(self):
            yield StreamChunk(1, is_final=True)
    """
    with run(str(adapter_file(textwrap.dedent(source), "untidy.py"))) as untidy:
        assert untidy.call("work", 5) == 5
        assert list(untidy.stream("items")) == [1]
    assert capsys.readouterr().err.count("OSError: the mess stays") == 2


def test_what_the_package_promises_is_there() -> None:
    import snakepit_bridge  # type: ignore[import-not-found]

    for name in snakepit_bridge.__all__:
        assert getattr(snakepit_bridge, name), name


class CallWithTools:
    """A running call whose host offers tools, as far as a session context looks at one."""

    session_id = "s-1"
    metadata: dict[str, str] = {}  # noqa: RUF012
    tools = (("scale", "Scales", '{"type": "object"}', ""),)

    def on_tool(self, name: str, arguments: dict[str, object]) -> object:
        if name == "scale":
            return {"scaled": arguments}
        kind = "tool_not_found" if name == "nothing" else "tool_failed"
        raise ToolError(f"no luck with {name}", kind=kind)


def test_tools_of_the_host_are_called_by_the_originals_names() -> None:
    from snakepit._original.session import SessionContext

    context = SessionContext.of(CallWithTools())  # type: ignore[arg-type]
    assert list(context.elixir_tools) == ["scale"]
    scale = context.elixir_tools["scale"]
    assert scale["description"] == "Scales"
    assert scale(value=2) == {"scaled": {"value": 2}}
    assert context.call_elixir_tool("scale", value=3) == {"scaled": {"value": 3}}
    # As older adapters pass them; and a name that is a parameter's here.
    assert context.call_elixir_tool("scale", {"a": 1}, tool_name=2) == {
        "scaled": {"a": 1, "tool_name": 2}
    }
    with pytest.raises(ValueError, match="no tool `nothing`"):
        context.call_elixir_tool("nothing")
    with pytest.raises(RuntimeError, match="no luck with broken") as raised:
        context.call_elixir_tool("broken")
    assert isinstance(raised.value.__cause__, ToolError)


def test_tools_of_the_host_are_for_calls() -> None:
    from snakepit._original.session import SessionContext

    assert SessionContext().elixir_tools == {}
    with pytest.raises(RuntimeError, match="during a call only"):
        SessionContext().call_elixir_tool("scale")
