"""Tools that keep their thread to themselves."""

import asyncio
import ctypes
import os
import re
import signal
import time
from types import FrameType

from snakepit import context, tool

_PR_SET_PDEATHSIG = 1

if "OWN_WAKE_UPS" in os.environ:
    # As an event loop with signal handlers does it.
    _, _wake_up = os.pipe()
    os.set_blocking(_wake_up, False)
    signal.set_wakeup_fd(_wake_up)


def _show(path: str) -> None:
    """Shows that the tool was entered."""
    with open(path, "w", encoding="utf-8"):
        pass


@tool
def burn(us: int) -> int:
    """Computes for some microseconds."""
    end = time.perf_counter_ns() + us * 1000
    while time.perf_counter_ns() < end:
        pass
    return us


@tool
def spin(path: str) -> None:
    """Computes until it is cancelled."""
    _show(path)
    while True:
        context.check_cancelled()


@tool
def doze(path: str) -> None:
    """Sleeps until it is cancelled."""
    _show(path)
    while True:
        context.check_cancelled()
        time.sleep(0.01)


@tool
async def doze_on_the_loop(path: str) -> None:
    """Waits on the event loop until it is cancelled."""
    _show(path)
    await asyncio.Event().wait()


@tool
def hold_gil(path: str, outlive_host: bool = False) -> None:
    """Never returns, and never lets go of the GIL.

    Args:
        path: A pipe; its end stays open for as long as the process lives.
        outlive_host: Takes away that the kernel ends this process with its host.
    """
    if outlive_host:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, 0, 0, 0, 0)
    os.open(path, os.O_WRONLY)
    # It backtracks through two to the power of sixty ways to match.
    re.match("(a+)+$", "a" * 60 + "b")


@tool
def show_signals(path: str) -> None:
    """From now on, writes a byte for each SIGUSR1 as it comes."""
    pipe = os.open(path, os.O_WRONLY)

    def show(number: int, frame: FrameType | None) -> None:
        os.write(pipe, b".")

    signal.signal(signal.SIGUSR1, show)


@tool
def fork_and_return() -> int:
    """Returns in two processes."""
    return os.fork()


@tool
def reap(pid: int) -> int:
    """Waits for a child and returns its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
