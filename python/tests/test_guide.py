"""What the guides show works as they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snakepit.testing import run, run_threads

if TYPE_CHECKING:
    from collections.abc import Callable

DOCS = Path(__file__).parents[2] / "docs"

GUIDES = ("thread-safe-adapters.md", "original-adapters.md")

BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(adapter_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    texts = [(DOCS / name).read_text(encoding="utf-8") for name in GUIDES]
    blocks = [block for text in texts for block in BLOCK.findall(text)]
    files = {name: adapter_file(source, name) for name, source in blocks}
    assert len(files) == len(blocks), "two blocks of the same name"
    monkeypatch.syspath_prepend(str(files["library.py"].parent))
    return files


def test_the_guides_adapter_of_the_original_runs_as_it_is(files: dict[str, Path]) -> None:
    with run(str(files["ledger.py"])) as adapter:
        assert adapter.call("book", account="a", amount=1)["balance"] == 1


def test_the_guides_adapters_may_be_called_by_several_threads(files: dict[str, Path]) -> None:
    with run_threads(str(files["words.py"]), check="off") as adapter:
        assert adapter.together(lambda each, _: each.call("count", text="a b")) == [2] * 4
    with run_threads(f"{files['library.py']}:Library") as adapter:
        assert adapter.call("statistics")["calls"] == 1


TESTS = ("test_library.py", "test_forgotten.py", "test_ledger.py", "test_counting.py")


@pytest.mark.parametrize("name", TESTS)
def test_the_guides_tests_pass(files: dict[str, Path], name: str) -> None:
    namespace: dict[str, object] = {"__name__": name.removesuffix(".py")}
    exec(compile(files[name].read_text(), str(files[name]), "exec"), namespace)
    tests = [value for key, value in namespace.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()  # type: ignore[operator]
