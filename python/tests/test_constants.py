"""What threads share of an adapter that was compiled for this worker."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest
from fake_host import FakeHost

if TYPE_CHECKING:
    from pathlib import Path

ADAPTER = """
import sys
import snakepit

__thread_safe__ = True

def compute():
    return 70_000

@snakepit.tool
def is_counted() -> bool:
    return not sys._is_immortal(max(compute.__code__.co_consts, key=lambda each: each or 0))
"""


@pytest.mark.skipif("t" not in sys.abiflags, reason="only threads without a GIL compete for counts")
def test_threads_do_not_count_the_uses_of_a_constant(tmp_path: Path) -> None:
    path = tmp_path / "never_imported.py"
    path.write_text(ADAPTER)
    host = FakeHost(path, "--capacity", "2")
    try:
        assert host.call("is_counted") is False
    finally:
        host.close()
