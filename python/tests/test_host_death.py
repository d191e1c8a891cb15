"""The native signal that ends a worker with its host: no thread, no GIL, no Python."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# What the scripts below begin with. A grandchild holds the pipe to the test for as long as it
# lives, so the end of what is read there is the end of every process of the group.
COMMON = """
import os, re, signal, subprocess, sys, threading
from snakepit._native import arm
fd = int(sys.argv[1])
def say(text):
    os.write(1, text.encode() + b"\\n")
def bear():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=1)
def hold_gil():
    re.match("(a+)+$", "a" * 60 + "b")
def sleep():
    import time
    time.sleep(60)
"""

# As the host's spawner does between fork and exec.
SPAWN = """
import ctypes, os, signal, subprocess, sys, time
def before_exec():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)
fds = [int(sys.argv[2])]
worker = subprocess.Popen(
    [sys.executable, "-c", sys.argv[1], sys.argv[2]],
    pass_fds=fds, process_group=0, preexec_fn=before_exec,
)
time.sleep(60)
"""


class Ends:
    """The liveness socket, and what the processes under test have written."""

    def __init__(self) -> None:
        self.liveness, self.theirs = socket.socketpair()
        self._started: list[subprocess.Popen[bytes]] = []
        self._pids: list[int] = []

    def start(self, *arguments: str, more: int | None = None) -> subprocess.Popen[bytes]:
        fds = [self.theirs.fileno()] if more is None else [self.theirs.fileno(), more]
        process = subprocess.Popen(
            [sys.executable, "-c", *arguments, str(self.theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            pass_fds=fds,
            process_group=0,
        )
        self.theirs.close()
        self._started.append(process)
        return process

    def read(self, process: subprocess.Popen[bytes], *pids: str) -> dict[str, int]:
        """Reads `name=pid` for each name, then `ready`."""
        read: dict[str, int] = {}
        while (line := line_of(process)) != "ready":
            name, _, pid = line.partition("=")
            read[name] = int(pid)
            self._pids.append(int(pid))
        assert sorted(read) == sorted(pids)
        return read

    def close(self) -> None:
        self.liveness.close()
        for pid in self._pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=20)


@pytest.fixture
def ends() -> Iterator[Ends]:
    ends = Ends()
    yield ends
    ends.close()


def line_of(process: subprocess.Popen[bytes]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline().decode().strip()
    assert line, "it ended without a word"
    return line


def read_dump(liveness: socket.socket) -> str:
    liveness.settimeout(10)
    received = b""
    while not received.endswith(b"\0"):
        received += liveness.recv(1 << 16)
    return received[:-1].decode()


def everything_ends(process: subprocess.Popen[bytes]) -> bool:
    """Whether whoever holds the pipe ends within ten seconds."""
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], 10)
    return bool(readable) and process.stdout.read() == b""


@pytest.mark.parametrize(
    "then",
    [
        "hold_gil()",
        "sleep()",
        # The main thread takes no signal, but some thread does.
        "threading.Thread(target=hold_gil).start();"
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); sleep()",
        # What subprocess and others do about signal handlers has no bearing.
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.set_wakeup_fd(-1); sleep()",
    ],
)
def test_the_end_of_the_socket_ends_the_group(ends: Ends, then: str) -> None:
    worker = ends.start(COMMON + f"arm(fd); bear(); say('ready'); {then}")
    ends.read(worker)
    ends.liveness.close()
    assert everything_ends(worker)
    assert worker.wait(20) == -signal.SIGKILL


def test_a_host_that_died_before_arming_is_noticed(ends: Ends) -> None:
    worker = ends.start(COMMON + "bear(); say('ready'); sys.stdin.read(); arm(fd); hold_gil()")
    ends.liveness.close()
    ends.read(worker)
    assert everything_ends(worker)


def test_a_process_that_holds_the_gil_shows_its_stacks_when_asked(ends: Ends) -> None:
    script = """
from snakepit.worker import bind_to_host
rests = threading.Event()
def rest():
    rests.set()
    sleep()
def sing():
    say("ready")
    hold_gil()
bind_to_host(fd)
threading.Thread(target=rest, daemon=True).start()
rests.wait()
sing()
"""
    worker = ends.start(COMMON + script)
    ends.read(worker)
    for _ in range(3):
        ends.liveness.send(b"?")
        dump = read_dump(ends.liveness)
        assert " in sing\n" in dump
        assert " in rest\n" in dump
    # Being asked is no reason to end, and does not get in the way of one.
    assert worker.poll() is None
    ends.liveness.close()
    assert everything_ends(worker)


def test_a_process_without_faulthandler_has_nothing_to_show(ends: Ends) -> None:
    worker = ends.start(COMMON + "arm(fd); say('ready'); hold_gil()")
    ends.read(worker)
    ends.liveness.send(b"?")
    assert read_dump(ends.liveness) == ""


def test_a_forked_process_carries_a_mark_of_its_own() -> None:
    script = """
import os, socket
from snakepit._native import arm
own, theirs = socket.socketpair()
def marks():
    with open("/proc/self/environ", "rb") as file:
        return [entry for entry in file.read().split(b"\\0") if b"SNAKEPIT_WORKER" in entry]
if os.fork() == 0:
    arm(theirs.detach(), "b" * 33)
    if os.fork() == 0:
        os._exit(marks() != [b"SNAKEPIT_WORKER=" + b"b" * 33])
    os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
assert marks() == [b"SNAKEPIT_WORKER=" + b"a" * 33]
"""
    env = {**os.environ, "SNAKEPIT_WORKER": "a" * 33}
    subprocess.run([sys.executable, "-c", script], env=env, check=True, timeout=20)


def test_the_end_of_the_parent_ends_the_group_of_a_spawned_worker(ends: Ends) -> None:
    script = COMMON + "arm(fd); bear(); say(f'worker={os.getpid()}'); say('ready'); hold_gil()"
    host = ends.start(SPAWN, script)
    ends.read(host, "worker")
    # The socket stays open: it is the death signal that does it.
    host.kill()
    assert everything_ends(host)


def test_a_forked_worker_outlives_its_template_and_not_its_host(ends: Ends) -> None:
    own, theirs = socket.socketpair()
    script = f"""
arm(fd)
if os.fork() == 0:
    os.setpgid(0, 0)
    arm({theirs.fileno()})
    bear()
    say(f"worker={{os.getpid()}}")
    say("ready")
    hold_gil()
sleep()
"""
    with own, theirs:
        template = ends.start(COMMON + script, more=theirs.fileno())
        theirs.close()
        worker = ends.read(template, "worker")["worker"]
        # The template goes, by its own socket, and its worker stays.
        ends.liveness.close()
        assert template.wait(20) == -signal.SIGKILL
        os.kill(worker, 0)
        assert template.stdout is not None
        assert select.select([template.stdout], [], [], 0.2)[0] == []
        own.close()
        assert everything_ends(template)


def test_a_descriptor_that_is_none_is_refused() -> None:
    script = "from snakepit._native import arm; arm(95)"
    refused = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    assert b"ValueError: --liveness-fd 95" in refused.stderr
