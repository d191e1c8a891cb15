"""An adapter that knows what it has inherited.

`NOTES` in the environment names a file in which each step leaves a line with its process.
`HELD` names a pipe that stays open in every process that came from this import.
"""

import gc
import os
import random
import signal
import stat
import subprocess
import sys

import numpy as np

from snakepit import tool


def _note(step: str) -> None:
    if notes := os.environ.get("NOTES"):
        with open(notes, "a", encoding="utf-8") as file:
            file.write(f"{step} {os.getpid()}\n")


_note("import")
_HELD = open(os.environ["HELD"], "w", encoding="utf-8") if "HELD" in os.environ else None
_DEVICE_AT_IMPORT = os.environ.get("DEVICE")
random.seed(1)
np.random.seed(1)


def preload() -> None:
    _note("preload")


def setup() -> None:
    _note("setup")


@tool
def pids() -> dict[str, int]:
    return {"pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0)}


@tool
def draw() -> list[float]:
    return [random.random(), float(np.random.random())]


@tool
def devices() -> list[str | None]:
    shell = subprocess.run(["sh", "-c", "echo $DEVICE"], capture_output=True, text=True, check=True)
    return [_DEVICE_AT_IMPORT, os.environ.get("DEVICE"), shell.stdout.strip()]


@tool
def frozen() -> int:
    return gc.get_freeze_count()


@tool
def being() -> dict[str, object]:
    """Everything a process is that its start decides, without what tells one from another."""
    descriptors = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            status = os.fstat(int(name))
            kind = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
            inheritable = os.get_inheritable(int(name))
        except OSError:
            continue
        descriptors[name] = [kind, stat.S_IFMT(status.st_mode), inheritable]
    with open("/proc/self/status", encoding="utf-8") as file:
        lines = [line.split() for line in file]
    signals = {line[0]: line[1:] for line in lines if line[0].startswith(("Sig", "Shd"))}
    with open("/proc/self/limits", encoding="utf-8") as file:
        limits = file.read()
    arguments = [value for value in sys.argv if "template" not in value]
    return {
        "descriptors": descriptors,
        "signals": signals,
        "handlers": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "limits": limits,
        "arguments": arguments,
        "main": sys.modules["__main__"].__spec__.name,
        "environment": {k: v for k, v in os.environ.items() if k != "SNAKEPIT_WORKER"},
        "directory": os.getcwd(),
        "leads": os.getpgid(0) == os.getpid(),
        "buffering": [sys.stdout.line_buffering, sys.stderr.line_buffering],
        "path": sys.path,
        "gc": gc.isenabled(),
        "umask": os.umask(0o22),
        "nice": os.nice(0),
    }


@tool
def leave(code: int) -> None:
    os._exit(code)


@tool
def bear(path: str) -> None:
    """Starts a child of the same group that holds the pipe for as long as it lives."""
    subprocess.Popen(["sh", "-c", f"exec 9>{path}; sleep 1000"])
