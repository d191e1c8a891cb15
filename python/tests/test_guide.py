"""What the guide on thread-safe adapters shows works as it says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from snakepit.testing import run_threads

if TYPE_CHECKING:
    from collections.abc import Callable

GUIDE = Path(__file__).parents[2] / "docs" / "thread-safe-adapters.md"

BLOCK = re.compile(r"^```python\n# (\S+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(adapter_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    blocks = BLOCK.findall(GUIDE.read_text(encoding="utf-8"))
    files = {name: adapter_file(source, name) for name, source in blocks}
    monkeypatch.syspath_prepend(str(files["library.py"].parent))
    return files


def test_the_guides_adapters_may_be_called_by_several_threads(files: dict[str, Path]) -> None:
    with run_threads(str(files["words.py"]), check="off") as adapter:
        assert adapter.together(lambda each, _: each.call("count", text="a b")) == [2] * 4
    with run_threads(f"{files['library.py']}:Library") as adapter:
        assert adapter.call("statistics")["calls"] == 1


@pytest.mark.parametrize("name", ["test_library.py", "test_forgotten.py"])
def test_the_guides_tests_pass(files: dict[str, Path], name: str) -> None:
    namespace: dict[str, object] = {"__name__": name.removesuffix(".py")}
    exec(compile(files[name].read_text(), str(files[name]), "exec"), namespace)
    tests = [value for key, value in namespace.items() if key.startswith("test_")]
    assert tests
    for test in tests:
        test()  # type: ignore[operator]
