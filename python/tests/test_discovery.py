"""Tools are found where they are marked, and described as they are written."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import json
import math
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, TypedDict

import pytest

import snakepit
from snakepit._convert import Compiler
from snakepit._discover import Marked, make_tool
from snakepit._errors import StartError
from snakepit._lifecycle import Lifecycle
from snakepit._tool import ToolOptions

if TYPE_CHECKING:
    from pathlib import Path

    import nowhere


def tool_of(function: Any) -> Any:
    return make_tool(Marked(function.__name__, ToolOptions(None, None)), function, Compiler())


def parameters_of(function: Any) -> Any:
    schema = json.loads(tool_of(function).parameters_schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["type"] == "object"
    return schema


def schema_of(hint: Any) -> Any:
    def function(value: Any) -> None: ...

    function.__annotations__ = {"value": hint}
    schema = parameters_of(function)
    value = schema["properties"]["value"]
    return {**value, "$defs": schema["$defs"]} if "$defs" in schema else value


class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Options(TypedDict, total=False):
    when: datetime.date


@dataclasses.dataclass
class Node:
    name: str
    depth: int = 1
    children: list[Node] = dataclasses.field(default_factory=list)


@pytest.mark.parametrize(
    ("hint", "schema"),
    [
        (Any, {}),
        (object, {}),
        (int, {"type": "integer"}),
        (float, {"type": "number"}),
        (bool, {"type": "boolean"}),
        (str, {"type": "string"}),
        (None, {"type": "null"}),
        (bytes, {"type": "string", "contentEncoding": "base64"}),
        (list, {"type": "array"}),
        (list[int], {"type": "array", "items": {"type": "integer"}}),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (dict[str, Any], {"type": "object"}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
        (
            tuple[int, str],
            {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
            },
        ),
        (set[int], {"type": "array", "items": {"type": "integer"}, "uniqueItems": True}),
        (int | None, {"type": ["integer", "null"]}),
        (int | float, {"type": "number"}),
        (
            int | list[int],
            {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]},
        ),
        (int | Any, {}),
        (Literal["a", 1], {"enum": ["a", 1]}),
        (Color, {"enum": ["red", "blue"]}),
        (Annotated[int, "how many"], {"type": "integer", "description": "how many"}),
        (datetime.datetime, {"type": "string", "format": "date-time"}),
        (datetime.date, {"type": "string", "format": "date"}),
        (datetime.timedelta, {"type": "number", "description": "seconds"}),
    ],
)
def test_hints_have_a_schema(hint: Any, schema: Any) -> None:
    assert schema_of(hint) == schema


def test_classes_with_fields_are_definitions() -> None:
    assert schema_of(Node) == {
        "$ref": "#/$defs/Node",
        "$defs": {
            "Node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "depth": {"type": "integer", "default": 1},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
        },
    }
    assert schema_of(Pair)["$defs"]["Pair"]["required"] == ["left"]
    assert "required" not in schema_of(Options)["$defs"]["Options"]


def test_a_tool_is_described_by_its_docstring_and_signature() -> None:
    def predict(text: str, /, limit: int = 3, *, ratio: float = math.nan, rest=None) -> list[str]:  # type: ignore[no-untyped-def]
        """Predicts
        what comes.

        More of it.

        Args:
            text: What was said,
                and how.
            limit (int): How many.

        Returns:
            Words: many.
        """

    tool = tool_of(predict)
    assert tool.name == "predict"
    assert tool.description == "Predicts what comes."
    assert not tool.streaming
    assert json.loads(tool.returns_schema)["items"] == {"type": "string"}
    schema = parameters_of(predict)
    assert schema["required"] == ["text"]
    assert schema["additionalProperties"] is False
    assert schema["properties"] == {
        "text": {"type": "string", "description": "What was said, and how."},
        "limit": {"type": "integer", "description": "How many.", "default": 3},
        # NaN has no form in JSON, so the default is left out.
        "ratio": {"type": "number"},
        "rest": {"default": None},
    }


def test_extra_arguments_show_in_the_schema() -> None:
    def untyped(*args, **kwargs): ...  # type: ignore[no-untyped-def]
    def typed(**kwargs: int) -> None: ...

    assert parameters_of(untyped)["additionalProperties"] is True
    assert parameters_of(typed)["additionalProperties"] == {"type": "integer"}


def test_generators_stream_their_items() -> None:
    def items() -> Iterator[int]:
        yield 1

    def generator() -> Generator[str, None, None]:
        yield ""

    async def asynchronous() -> AsyncIterator[float]:
        yield 1.0

    async def coroutine() -> bool:
        return True

    for function, returned in [(items, "integer"), (generator, "string"), (asynchronous, "number")]:
        tool = tool_of(function)
        assert tool.streaming
        assert json.loads(tool.returns_schema)["type"] == returned
    assert not tool_of(coroutine).streaming
    assert [tool_of(f).is_async for f in (items, generator, asynchronous, coroutine)] == [
        False,
        False,
        True,
        True,
    ]


def test_wrapped_functions_are_what_they_wrap() -> None:
    def passing(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @passing
    def stream(count: int) -> Iterator[int]:
        yield count

    tool = tool_of(stream)
    assert tool.streaming
    assert list(parameters_of(stream)["properties"]) == ["count"]


def test_callable_objects_and_partials_are_tools() -> None:
    class Multiply:
        __name__ = "multiply"

        def __call__(self, a: int, b: int = 2) -> int:
            return a * b

    def add(a: int, b: int) -> int:
        return a + b

    assert parameters_of(Multiply())["required"] == ["a"]
    partial = functools.partial(add, 1)
    partial.__name__ = "increment"  # type: ignore[attr-defined]
    assert list(parameters_of(partial)["properties"]) == ["b"]


def test_hints_for_type_checkers_only_say_nothing() -> None:
    def function(a: nowhere.Thing, b: int) -> None: ...

    assert parameters_of(function)["properties"] == {"a": {}, "b": {"type": "integer"}}


MODULE = """
import snakepit
from snakepit import tool

@tool
def first(a: int) -> int: return a

@tool(name="second", description="Another one.")
def _other(): "Not this."

def not_a_tool(): ...

class Group:
    @tool
    def third(self, b: int) -> int: return b
    @staticmethod
    @tool
    def fourth(c: int): return c
    @tool
    @classmethod
    def fifth(cls): return cls.__name__
"""


def loaded(spec: Any) -> Any:
    lifecycle = Lifecycle()
    lifecycle.load(str(spec))
    return {tool.name: tool for tool in lifecycle.make({})}


def test_a_modules_functions_and_its_class_are_one_adapter(adapter_file: Any) -> None:
    path = adapter_file(MODULE)
    tools = loaded(path)
    assert list(tools) == ["first", "second", "third", "fourth", "fifth"]
    assert tools["second"].description == "Another one."
    assert [tools[n].bind(None)[1] for n in ("second", "fifth")] == [{}, {}]
    assert list(loaded(f"{path}:Group")) == ["third", "fourth", "fifth"]


def test_inherited_tools_come_first_and_can_be_taken_back(adapter_file: Any) -> None:
    path = adapter_file(
        "from snakepit import tool\n"
        "class Base:\n"
        "    @tool\n"
        "    def a(self): ...\n"
        "    @tool\n"
        "    def b(self): ...\n"
        "class Derived(Base):\n"
        "    @tool\n"
        "    def c(self): ...\n"
        "    def a(self): ...\n"
    )
    assert list(loaded(f"{path}:Derived")) == ["b", "c"]


@pytest.mark.parametrize(
    ("source", "spec", "text"),
    [
        ("", "{}", "has no tools; mark its functions"),
        ("class A: ...", "{}:A", "has no tools"),
        ("class Adapter: ...", "{}:Adaptor", "no class `Adaptor`; did you mean `Adapter`?"),
        ("A = 1", "{}:A", "`A` of some_adapter is not a class"),
        (
            "from snakepit import tool\n"
            "class A:\n    @tool\n    def a(self): ...\n"
            "class B:\n    @tool\n    def b(self): ...\n",
            "{}",
            "several classes with tools: A, B; say which one is meant, as `some_adapter:A`",
        ),
        (
            "from snakepit import tool\n@tool\ndef a(): ...\n@tool(name='a')\ndef b(): ...\n",
            "{}",
            "two tools are named `a`",
        ),
        ("", "nothing_here.py", "there is no file"),
        ("", "some_adaptor.py", "did you mean `some_adapter.py`?"),
        ("", "some-adapter.py", "there is no file"),
        ("", "jsom", "there is no module `jsom` in sys.path; did you mean `json`?"),
        ("", "json.decodr", "no module `json.decodr` in package `json`; did you mean `decoder`?"),
        ("", ":A", "names no module"),
    ],
)
def test_what_cannot_be_found_is_explained(
    adapter_file: Any, monkeypatch: pytest.MonkeyPatch, source: str, spec: str, text: str
) -> None:
    path: Path = adapter_file(source)
    monkeypatch.chdir(path.parent)
    with pytest.raises(StartError) as caught:
        loaded(spec.format(path))
    assert text in str(caught.value)
    assert caught.value.phase in ("import", "discover")


def test_an_import_that_fails_inside_the_adapter_is_its_own_error(adapter_file: Any) -> None:
    with pytest.raises(ModuleNotFoundError, match="not_installed"):
        loaded(adapter_file("import not_installed"))


def test_a_file_named_like_a_module_of_the_interpreter_is_refused(adapter_file: Any) -> None:
    path = adapter_file("import snakepit\n@snakepit.tool\ndef a(): ...", "json.py")
    with pytest.raises(StartError, match="give the adapter's file another name"):
        loaded(path)


def test_a_decorated_function_is_still_itself() -> None:
    @snakepit.tool
    def double(x: int) -> int:
        return 2 * x

    assert double(4) == 8
