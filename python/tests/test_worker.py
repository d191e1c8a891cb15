"""The worker process: how it starts, fails to start, and ends with its host."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE_BYTES = 4096
MAGIC = 0x534E_4B31

NAMES = ("--worker-id", "w", "--pool", "p", "--adapter", "a")

TOOL = """
import snakepit

@snakepit.tool
def a(): ...
"""

ADAPTER = f"""
import os, subprocess, sys
{TOOL}
def setup():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, os.environ.get("PYTHONPATH"))
"""


class Host:
    """The inherited ends of a worker, and nobody who speaks at the other."""

    def __init__(self) -> None:
        self.link, self.worker_link = socket.socketpair()
        self.liveness, self.worker_liveness = socket.socketpair()
        self.control = os.memfd_create("control", os.MFD_ALLOW_SEALING)
        os.write(self.control, struct.pack("=I", MAGIC).ljust(PAGE_BYTES, b"\0"))

    def start(self, adapter: object, *more: str, env: Any = None) -> subprocess.Popen[str]:
        fds = (self.worker_link.fileno(), self.worker_liveness.fileno(), self.control)
        names = ("--link-fd", "--liveness-fd", "--control-fd")
        options = [part for name, fd in zip(names, fds, strict=True) for part in (name, str(fd))]
        return subprocess.Popen(
            [
                *(sys.executable, "-m", "snakepit.worker", "--worker-id", "w", "--pool", "p"),
                *("--adapter", str(adapter), *options, *more),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=fds,
            process_group=0,
            env=env,
        )

    def close(self) -> None:
        for end in (self.link, self.worker_link, self.liveness, self.worker_liveness):
            end.close()
        os.close(self.control)


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    host.close()


@pytest.mark.parametrize(
    ("source", "more", "said"),
    [
        ("raise ValueError('broken')", (), "ValueError: broken"),
        ("raise SystemExit(0)", (), "SystemExit: 0"),
        ("raise KeyboardInterrupt", (), "KeyboardInterrupt"),
        ("syntax error", (), "SyntaxError"),
        ("x = 1", (), "the adapter has no tools"),
        ("def preload(): raise OSError('no model')\n" + TOOL, (), "OSError: no model"),
        ("def setup(): raise OSError('no port')\n" + TOOL, (), "OSError: no port"),
        (TOOL, ("--adapter-args", '{"a": 1}'), "no class to take them"),
        (TOOL, ("--adapter-args", "{"), "--adapter-args is no JSON"),
        (TOOL, ("--capacity", "4"), "does not say that it is thread-safe"),
    ],
)
def test_a_start_that_fails_says_why(
    host: Host, tmp_path: Path, source: str, more: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "some_adapter.py"
    path.write_text(source)
    worker = host.start(path, *more)
    _, stderr = worker.communicate(timeout=20)
    assert said in stderr
    assert worker.returncode == 3
    # The start failure went over the link too.
    assert said.encode().split(b": ")[-1] in host.link.recv(1 << 16)
    kill_group(worker)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "missing --worker-id"),
        (["--nonsense", "1"], "unknown option --nonsense"),
        (["--pool"], "--pool has no value"),
        (
            [
                *NAMES,
                "--link-fd",
                "3",
                "--liveness-fd",
                "4",
                "--control-fd",
                "5",
                "--capacity",
                "x",
            ],
            "--capacity x: not a number",
        ),
        (
            [*NAMES, "--link-fd", "95", "--liveness-fd", "96", "--control-fd", "97"],
            "--liveness-fd 96",
        ),
        (
            [*NAMES, "--link-fd", "0", "--liveness-fd", "1", "--control-fd", "2"],
            "a standard stream",
        ),
    ],
)
def test_a_wrong_command_line_is_explained(arguments: list[str], said: str) -> None:
    worker = subprocess.run(
        [sys.executable, "-m", "snakepit.worker", *arguments],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert worker.returncode == 2
    assert said in worker.stderr
    assert "usage:" in worker.stderr


@pytest.mark.parametrize("end", ["liveness", "link"])
def test_a_worker_and_its_children_end_with_the_host(host: Host, tmp_path: Path, end: str) -> None:
    path = tmp_path / "some_adapter.py"
    path.write_text(ADAPTER)
    added = str(tmp_path / "added")
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([added, str(tmp_path)]),
        "SNAKEPIT_PYTHONPATH_ADDED": added,
    }
    worker = host.start(path, env=env)
    assert worker.stdout is not None
    child, python_path = worker.stdout.readline().split()
    assert python_path == str(tmp_path), "what the host added is taken away for grandchildren"
    # It has attached once it speaks HTTP/2.
    assert host.link.recv(3) == b"PRI"
    host.worker_link.close()
    host.worker_liveness.close()
    getattr(host, end).close()
    worker.communicate(timeout=20)
    assert worker.returncode == -signal.SIGKILL
    wait_until_gone(int(child))


def test_descriptors_are_kept_from_grandchildren(host: Host, tmp_path: Path) -> None:
    path = tmp_path / "some_adapter.py"
    path.write_text(
        "import os, sys, subprocess\n"
        "code = 'import os; print(sorted(os.listdir(\"/proc/self/fd\"), key=int))'\n"
        "os.set_inheritable(1, True)\n"
        "subprocess.run([sys.executable, '-c', code], close_fds=False)\n"
    )
    worker = host.start(path)
    stdout, _ = worker.communicate(timeout=20)
    # The standard streams, and the directory that is being listed.
    assert stdout.strip() == "['0', '1', '2', '3']"


def wait_until_gone(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        # Readable once it has ended; a zombie only waits for whoever adopted it.
        gone, _, _ = select.select([process], [], [], 10)
    finally:
        os.close(process)
    if not gone:
        raise AssertionError(f"process {pid} is still there")


def kill_group(worker: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(worker.pid, signal.SIGKILL)
