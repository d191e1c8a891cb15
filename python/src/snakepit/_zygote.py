"""The zygote: a process that has loaded an adapter and forks workers on request.

Owns the channel to the host and what a child must change about itself before it is a worker like
any other. Invariant: it has one thread, no runtime and no connection but that channel, which its
children do not keep. It is the only one who can collect its children, and never does so before it
has killed their groups; when the host is gone it kills them all and ends.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import signal
import socket
import sys
import threading

from snakepit._lifecycle import Lifecycle
from snakepit._native import die_with_parent, fill_heap, from_json, outlive_parent, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_STANDARD_OUTPUTS = [1, 2]

# Packets are not cut: the host keeps its own below this.
_PACKET_BYTES = 256 * 1024
_INT_BYTES = 4
_BESIDE_BYTES = socket.CMSG_SPACE(8 * _INT_BYTES)

# CPython's own allocator: blocks of up to 512 bytes, in pools of 16 KiB (Objects/obmalloc.c).
_LARGEST_POOLED = 512
_POOL_BYTES = 16 * 1024
_BYTES_OVERHEAD = sys.getsizeof(b"")
# Should it not be that allocator: this many blocks, some 6 MB, are all that is taken.
_MOST_FILLING = 20_000

# What processes hold open that have touched an accelerator: NVIDIA, AMD, Gaudi and TPUs, and those
# that are passed through.
_ACCELERATORS = ("/dev/nvidia", "/dev/kfd", "/dev/dri/render", "/dev/accel", "/dev/vfio/")


class Zygote:
    """What workers are forked from.

    `lifecycle` is loaded; `error` says why it is not, if it is not.
    """

    def __init__(self, channel_fd: int) -> None:
        os.set_inheritable(channel_fd, False)
        self.lifecycle = Lifecycle()
        self.error: BaseException | None = None
        self._filling: list[bytes] = []
        # In a child: the mark by which the host knows what it leaves behind.
        self.marker = ""
        self._channel = socket.socket(fileno=channel_fd)
        self._children: set[int] = set()

    def load(self, adapter: str) -> None:
        """Does what all workers share."""
        die_with_parent()
        try:
            self.lifecycle.load(adapter)
            self.lifecycle.preload()
        except BaseException as error:
            # The first children report it as they would have themselves.
            self.error = error

    def serve(self) -> list[str]:
        """Forks workers on request; returns in each of them, with its arguments."""
        # From here on the end of the channel says that the host is gone; children are ended then,
        # for which a death signal would leave no time.
        outlive_parent()
        reason = _unfit(self._channel.fileno())
        if reason:
            self._say({"state": "unfit", "reason": reason})
        else:
            # What the collector does not look at, it does not write to: the pages stay shared.
            gc.collect()
            gc.freeze()
            # And what they allocate lies together instead of all over the pages they share.
            self._filling = _fill_pools()
            fill_heap()
            self._say({"state": "failed" if self.error else "ready"})
        while True:
            packet, beside, _, _ = self._channel.recvmsg(
                _PACKET_BYTES, _BESIDE_BYTES, socket.MSG_CMSG_CLOEXEC
            )
            if not packet:
                self._host_is_gone()
            descriptors = _descriptors_in(beside[0][2]) if beside else []
            request: dict[str, Any] = from_json(packet.decode())
            number: int = request["id"]
            if (fork := request.get("fork")) is not None:
                if self._fork(number, fork, descriptors):
                    self.marker = fork["marker"]
                    return fork["args"]
            else:
                self._reap(number, request["reap"]["pid"])

    def _fork(self, number: int, request: dict[str, Any], descriptors: list[int]) -> bool:
        """Forks; tells whether this is the child."""
        _flush()
        pid = -1
        try:
            pid = os.fork()
            if pid == 0:
                # Its number is the link's from now on.
                self._channel.detach()
                _become(request, descriptors)
                return True
            self._children.add(pid)
            # Both sides do it, so that it is done before either goes on.
            with contextlib.suppress(OSError):
                os.setpgid(pid, pid)
            pidfd = os.pidfd_open(pid)
        except OSError as error:
            if pid == 0:
                raise
            if pid > 0:
                self._collect(pid, 0)
            self._say({"id": number, "errno": error.errno, "reason": str(error)})
        else:
            self._say({"id": number, "pid": pid}, pidfd)
            os.close(pidfd)
        for descriptor in descriptors:
            os.close(descriptor)
        return False

    def _reap(self, number: int, pid: int) -> None:
        answer = {"id": number}
        if pid in self._children and (status := self._collect(pid, os.WNOHANG)) is not None:
            answer["code" if status >= 0 else "signal"] = abs(status)
        self._say(answer)

    def _collect(self, pid: int, options: int) -> int | None:
        """Kills a child's group and collects it; a signal is negative."""
        _kill_group(pid)
        try:
            collected, status = os.waitpid(pid, options)
        except ChildProcessError:
            # The adapter has the system collect its children, or does so itself.
            collected, status = pid, None
        if collected == pid:
            self._children.discard(pid)
        return None if collected != pid or status is None else os.waitstatus_to_exitcode(status)

    def _say(self, answer: dict[str, Any], *descriptors: int) -> None:
        try:
            self._channel.sendmsg([to_json(answer).encode()], _as_rights(descriptors))
        except OSError as error:
            if error.errno in (errno.EPIPE, errno.ECONNRESET):
                self._host_is_gone()
            raise

    def _host_is_gone(self) -> NoReturn:
        for pid in self._children:
            _kill_group(pid)
        # What the adapter has started on import is of the zygote's own group, and so is this.
        os.killpg(0, signal.SIGKILL)
        os._exit(0)


def _descriptors_in(data: bytes) -> list[int]:
    # By hand, like the other direction: what `socket` offers for it runs far more code, and every
    # page that the zygote writes to is one more that its last child has to itself.
    return [
        int.from_bytes(data[at : at + _INT_BYTES], sys.byteorder)
        for at in range(0, len(data), _INT_BYTES)
    ]


def _as_rights(descriptors: tuple[int, ...]) -> list[tuple[int, int, bytes]]:
    if not descriptors:
        return []
    data = b"".join(number.to_bytes(_INT_BYTES, sys.byteorder) for number in descriptors)
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, data)]


def _fill_pools() -> list[bytes]:
    """Takes what is free among Python's own small blocks, as `fill_heap` does for larger ones.

    Blocks of one size come one after the other once there is no room left between others.
    """
    filling: list[bytes] = []
    if "t" in sys.abiflags:
        # Free-threaded builds have another allocator.
        return filling
    for size in range(48, _LARGEST_POOLED + 1, 16):
        in_order, last = 0, 0
        # Half a pool of them is no accident.
        while in_order < _POOL_BYTES // size // 2 and len(filling) < _MOST_FILLING:
            filling.append(bytes(size - _BYTES_OVERHEAD))
            here = id(filling[-1])
            in_order = in_order + 1 if here == last + size else 0
            last = here
    return filling


def _become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Makes a fresh child a worker: what it was told to be, and nothing of the zygote's."""
    os.setpgid(0, 0)
    for descriptor, number in zip(
        descriptors, [*request["descriptors"], *_STANDARD_OUTPUTS], strict=True
    ):
        os.dup2(descriptor, number, inheritable=number in _STANDARD_OUTPUTS)
        os.close(descriptor)
    # One by one: `update` asks what kind of mapping it was given, which looks through, and so
    # writes to, as much again as the rest of this function.
    for name, value in request["env"]:
        os.environ[name] = value
    # `random` does so by itself, in a fork hook of its own.
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        try:
            numpy_random.seed()
        except Exception as error:
            # The adapter has put another kind of generator in its place.
            print(f"snakepit: numpy's generator keeps its state: {error}", file=sys.stderr)


def _unfit(channel_fd: int) -> str:
    """Says why this process must not be forked, if it must not."""
    tasks = os.listdir("/proc/self/task")
    if len(tasks) > 1:
        names = sorted(_name(int(task)) for task in tasks if int(task) != os.getpid())
        count = f"{len(names)} thread{'s' if len(names) > 1 else ''}"
        return f"importing the adapter started {count} ({', '.join(names[:4])})"
    for name in os.listdir("/proc/self/fd"):
        if int(name) == channel_fd:
            continue
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            # The directory's own, which is closed again.
            continue
        if target.startswith(_ACCELERATORS):
            return f"importing the adapter opened an accelerator ({target})"
        if target.startswith("socket:") and _is_stream(int(name)):
            return "importing the adapter opened a connection, which workers cannot share"
        if target == "anon_inode:[eventpoll]":
            return "importing the adapter started an event loop, which workers cannot share"
    return ""


def _name(task: int) -> str:
    for thread in threading.enumerate():
        if thread.native_id == task:
            return thread.name
    try:
        # One of native code.
        with open(f"/proc/self/task/{task}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return str(task)


def _is_stream(descriptor: int) -> bool:
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return copy.type == socket.SOCK_STREAM


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _flush() -> None:
    """Leaves nothing in the buffers that children would write once more."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()
