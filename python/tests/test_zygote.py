"""The zygote on its own: what it says, forks, collects, and leaves behind."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from snakepit import _zygote

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ADAPTER = """
import os, subprocess, sys, time
import snakepit

@snakepit.tool
def a(): ...

print("imported")

def setup():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print("child", child.pid, flush=True)
    time.sleep(60)
"""


class Host:
    """The host's end of a zygote's channel."""

    def __init__(self, adapter: Path) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(20)
        command = [sys.executable, "-m", "snakepit.worker", "--zygote", "--adapter", str(adapter)]
        self.zygote = subprocess.Popen(
            [*command, "--channel-fd", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=[theirs.fileno()],
            process_group=0,
            env=os.environ | {"SNAKEPIT_WORKER": "z" * 33},
        )
        theirs.close()
        self.pidfds: list[int] = []

    def ask(self, request: dict[str, Any], descriptors: list[int]) -> dict[str, Any]:
        socket.send_fds(self.channel, [json.dumps(request).encode()], descriptors)
        return self.hear()

    def hear(self) -> dict[str, Any]:
        packet, descriptors, _, _ = socket.recv_fds(self.channel, 65536, 8)
        self.pidfds += descriptors
        return json.loads(packet)

    def close(self) -> None:
        self.channel.close()
        for pidfd in self.pidfds:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            os.close(pidfd)
        self.zygote.kill()
        self.zygote.communicate(timeout=20)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    adapter = tmp_path / "forked_adapter.py"
    adapter.write_text(ADAPTER)
    host = Host(adapter)
    yield host
    host.close()


def fork(host: Host, *more: str) -> tuple[int, int]:
    """Forks a worker of which nothing but the channel is the test's; gives its pid and output.

    It holds both ends of its own sockets, so that only the zygote ends it.
    """
    link, worker_link = socket.socketpair()
    liveness, worker_liveness = socket.socketpair()
    control = os.memfd_create("control", os.MFD_ALLOW_SEALING)
    os.write(control, (0x534E_4B31).to_bytes(4, sys.byteorder).ljust(4096, b"\0"))
    output, theirs = os.pipe()
    ends = [worker_link.fileno(), worker_liveness.fileno(), control, link.fileno()]
    numbers = [40, 41, 42, 43, 44]
    arguments = ["--worker-id", "w", "--pool", "p", "--adapter", "a"]
    arguments += ["--link-fd", "40", "--liveness-fd", "41", "--control-fd", "42", *more]
    request = {
        "args": arguments,
        "env": [["A", "1"]],
        "marker": "w" * 33,
        "descriptors": numbers,
    }
    descriptors = [*ends, liveness.fileno(), theirs, theirs]
    answer = host.ask({"id": 7, "fork": request}, descriptors)
    assert answer["id"] == 7
    for end in (link, worker_link, liveness, worker_liveness):
        end.close()
    os.close(control)
    os.close(theirs)
    return answer["pid"], output


def read_line(output: int) -> str:
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([output], [], [], 20)[0], "it says nothing"
        byte = os.read(output, 1)
        assert byte, f"it ended after {line!r}"
        line += byte
    return line.decode()


def environment(process: str) -> list[bytes]:
    while True:
        with open(f"/proc/{process}/environ", "rb") as environ:
            text = environ.read()
        # There is none while a program is being started.
        if text:
            return text.split(b"\0")
        os.sched_yield()


def test_the_end_of_the_channel_ends_every_child_with_its_group(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    _, output = fork(host)
    assert read_line(output).startswith("child ")
    host.channel.close()
    # The child's own child holds the pipe too.
    assert select.select([output], [], [], 20)[0], "somebody lives"
    assert os.read(output, 1) == b""
    os.close(output)
    assert host.zygote.wait(20) == -signal.SIGKILL


def test_a_start_gives_way_and_what_an_adapter_starts_does_not(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    pid, output = fork(host)
    started = int(read_line(output).split()[1])
    processes = (host.zygote.pid, pid, started)
    policies = [os.sched_getscheduler(process) for process in processes]
    assert policies == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_OTHER]
    os.close(output)


def test_a_child_carries_its_own_mark_for_all_to_see(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    pid, output = fork(host)
    grandchild = read_line(output).split()[1]
    for process in (str(pid), grandchild):
        marks = [line for line in environment(process) if b"SNAKEPIT_WORKER" in line]
        assert marks == [b"SNAKEPIT_WORKER=" + b"w" * 33]
    os.close(output)


def test_what_was_printed_before_the_fork_is_printed_once(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    _, output = fork(host)
    assert read_line(output).startswith("child "), "and not what the zygote has printed"
    os.close(output)
    assert host.zygote.stdout is not None
    assert host.zygote.stdout.readline() == "imported\n"


def test_a_child_is_collected_when_it_has_ended_and_not_twice(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    pid, output = fork(host)
    os.kill(pid, signal.SIGTERM)
    assert select.select(host.pidfds, [], [], 20)[0]
    reap = {"reap": {"pid": pid}}
    assert host.ask({"id": 8, **reap}, []) == {"id": 8, "signal": signal.SIGTERM}
    assert not os.path.exists(f"/proc/{pid}")
    assert host.ask({"id": 9, **reap}, []) == {"id": 9}
    os.close(output)


def test_a_wrong_command_line_of_a_child_is_its_own_affair(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    pid, output = fork(host, "--nonsense")
    assert "unknown option --nonsense" in read_line(output)
    assert select.select(host.pidfds, [], [], 20)[0]
    assert host.ask({"id": 8, "reap": {"pid": pid}}, []) == {"id": 8, "code": 2}
    os.close(output)
    assert host.zygote.poll() is None


def test_descriptors_that_were_lost_on_the_way_are_told_of_and_nobody_is_forked(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    request = {"args": [], "env": [], "marker": "w" * 33, "descriptors": [40, 41]}
    answer = host.ask({"id": 7, "fork": request}, [1])
    assert (answer["id"], answer["errno"]) == (7, errno.EMFILE)
    with open(f"/proc/{host.zygote.pid}/task/{host.zygote.pid}/children") as children:
        assert children.read() == ""


def test_a_packet_that_is_none_ends_the_zygote_with_a_reason(host: Host) -> None:
    assert host.hear() == {"state": "ready"}
    host.channel.send(b"?")
    assert host.zygote.wait(20) == 1
    assert host.zygote.stderr is not None
    assert "a packet of the host" in host.zygote.stderr.read()


def test_an_opened_accelerator_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _zygote._unfit(-1) == ""
    with open("/dev/zero") as file:
        real = os.readlink
        mine = f"/proc/self/fd/{file.fileno()}"
        monkeypatch.setattr(
            _zygote.os, "readlink", lambda path: "/dev/nvidia0" if path == mine else real(path)
        )
        assert "accelerator (/dev/nvidia0)" in _zygote._unfit(-1)


def test_a_channel_that_is_none_is_refused() -> None:
    command = [sys.executable, "-m", "snakepit.worker", "--zygote"]
    for options, said in [
        (["--adapter", "a"], "missing --channel-fd"),
        (["--adapter", "a", "--channel-fd", "95"], "Bad file descriptor"),
    ]:
        refused = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert said in refused.stderr


# A heap with room on every page: half of many small blocks, larger than Python keeps itself.
HOLES = """
import os, signal, sys
from snakepit._native import fill_heap
from snakepit._zygote import _fill_pools
kept = [[bytes(size) for _ in range(3000)] for size in (600, 100)]
for blocks in kept:
    del blocks[::2]
if sys.argv[1] == "filled":
    filling = _fill_pools()
    fill_heap()
own, theirs = os.pipe()
if os.fork() == 0:
    mine = [[bytes(size) for _ in range(500)] for size in (600, 100)]
    os.write(theirs, b"x")
    signal.pause()
os.read(own, 1)
signal.pause()
"""


@pytest.mark.skipif("t" in sys.abiflags, reason="free-threaded builds have another allocator")
def test_what_a_child_allocates_lies_together_when_holes_are_filled() -> None:
    dirty: dict[str, int] = {}
    for how in ("holed", "filled"):
        process = subprocess.Popen([sys.executable, "-c", HOLES, how], process_group=0)
        try:
            dirty[how] = written_by_child_of(process.pid)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(20)
    # 350 kB of blocks: 88 pages if they lie together, about 250 if not.
    assert dirty["filled"] + 300 < dirty["holed"], dirty


def written_by_child_of(parent: int) -> int:
    """Waits until both sleep, and gives the KiB that the child has to itself."""
    end = time.monotonic() + 20
    while time.monotonic() < end:
        with open(f"/proc/{parent}/task/{parent}/children") as file:
            children = file.read().split()
        if children and all(is_paused(pid) for pid in (str(parent), *children)):
            with open(f"/proc/{children[0]}/smaps_rollup") as file:
                lines = dict(line.split(":") for line in file if ":" in line[:20])
            return int(lines["Private_Dirty"].split()[0])
        time.sleep(0.01)
    raise AssertionError("they do not come to rest")


def is_paused(pid: str) -> bool:
    with open(f"/proc/{pid}/syscall") as file:
        number = file.read().split()[0]
    # On architectures without `pause` it is `ppoll`; neither is used before.
    return number in ("34", "73")
