"""The zygote: a process that has loaded an adapter and forks workers on request.

Owns the order from the adapter's import to the first fork, whether there may be one at all, and
what a child must change about its Python. The forking itself is native. Invariant: it has one
thread, no runtime and no connection but its channel to the host, and it loads nothing that a worker
can do without: what is imported here, each fork copies.
"""

from __future__ import annotations

import gc
import os
import sys

from snakepit._native import ForkServer, die_with_parent, fill_heap, outlive_parent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from snakepit._lifecycle import Lifecycle
    from snakepit._native import Options

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
    """What workers are forked from. `error` says why the adapter is not loaded, if it is not."""

    def __init__(self, arguments: list[str], lifecycle: Lifecycle) -> None:
        self.error: BaseException | None = None
        self._lifecycle = lifecycle
        self._filling: list[bytes] = []
        self._server = ForkServer(arguments)

    def load(self) -> None:
        """Does what all workers share."""
        die_with_parent()
        try:
            self._lifecycle.load(self._server.adapter)
            self._lifecycle.preload()
        except BaseException as error:
            # The first children report it as they would have themselves.
            self.error = error

    def serve(self) -> Options:
        """Forks workers on request; returns in each of them, bound to its host.

        Raises:
            ValueError: In a worker that was told something it does not understand.
        """
        # From here on the end of the channel says that the host is gone; children are ended then,
        # for which a death signal would leave no time.
        outlive_parent()
        reason = _unfit(self._server.channel_fd)
        if reason:
            self._server.tell("unfit", reason)
        else:
            # What the collector does not look at, it does not write to: the pages stay shared.
            gc.collect()
            gc.freeze()
            # And what they allocate lies together instead of all over the pages they share.
            self._filling = _fill_pools()
            fill_heap()
            self._server.tell("failed" if self.error else "ready")
        # What is not here before a fork, no worker has from its zygote.
        numpy_random = sys.modules.get("numpy.random")
        options = self._server.serve()
        # `random` does so by itself, in a fork hook of its own.
        if numpy_random is not None:
            _reseed(numpy_random)
        return options


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
        # Half a pool of them is no accident. And the last pool to its end: what a child allocates
        # then lies in one of its own, the first page of which it writes to anyway.
        while len(filling) < _MOST_FILLING and (
            in_order < _POOL_BYTES // size // 2 or last % _POOL_BYTES + 2 * size <= _POOL_BYTES
        ):
            filling.append(bytes(size - _BYTES_OVERHEAD))
            here = id(filling[-1])
            in_order = in_order + 1 if here == last + size else 0
            last = here
    return filling


def _reseed(numpy_random: Any) -> None:
    """Lets a fresh child have random numbers of its own."""
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
    # Who has started threads has it.
    threading = sys.modules.get("threading")
    for thread in threading.enumerate() if threading else ():
        if thread.native_id == task:
            return thread.name
    try:
        # One of native code.
        with open(f"/proc/self/task/{task}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return str(task)


def _is_stream(descriptor: int) -> bool:
    # Who has opened one has it.
    import socket

    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return copy.type == socket.SOCK_STREAM
