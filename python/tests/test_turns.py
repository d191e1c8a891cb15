"""The turns that a worker's threads take on the processor."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest
from fake_host import FakeHost

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SHORTEST_NS = 100_000
FIRST_KERNEL = (6, 12)

# The system call has no function in Python or the C library; its answer is `struct sched_attr`.
ADAPTER = """
import ctypes, os, platform, struct
import snakepit

number = {"x86_64": 315, "aarch64": 275}[platform.machine()]

def setup():
    os.nice(5)

@snakepit.tool
def turn() -> list[int]:
    answer = ctypes.create_string_buffer(48)
    assert ctypes.CDLL(None).syscall(number, 0, answer, 48, 0) == 0
    _size, policy, _flags, nice, _priority, runtime, _deadline, _period = struct.unpack(
        "=IIQiIQQQ", answer.raw
    )
    return [policy, nice, runtime]
"""


@pytest.fixture
def host(tmp_path: Path) -> Iterator[FakeHost]:
    path = tmp_path / "turns.py"
    path.write_text(ADAPTER)
    host = FakeHost(path)
    yield host
    host.kill()


def test_a_thread_that_runs_calls_takes_short_turns_and_keeps_its_rank(host: FakeHost) -> None:
    policy, nice, runtime = host.call("turn")
    assert (policy, nice) == (os.SCHED_OTHER, os.nice(0) + 5)
    major, minor = (int(part) for part in platform.release().split(".")[:2])
    # Older kernels have no turns of a thread's own, and say nothing of them.
    assert runtime == (SHORTEST_NS if (major, minor) >= FIRST_KERNEL else 0)
    assert host.close() == 0
