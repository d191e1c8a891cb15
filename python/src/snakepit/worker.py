"""The worker process: `python -m snakepit.worker`.

Owns the command line a host starts workers with, the order from import to exit, and the report
of a start that failed. The link itself is native and has no thread before the adapter is set up.

With `--zygote` the process loads the adapter and forks workers, each of which goes on as if it had
been started with the arguments that the host sends.

Exit codes: 0 after a shutdown the host asked for, 1 after an exception outside a call, 2 for a
wrong command line, 3 when the adapter could not be started, 4 when the link's rules were broken.
"""

from __future__ import annotations

import faulthandler
import os
import sys
from contextvars import copy_context

from snakepit import _constants
from snakepit._context import current
from snakepit._errors import StartError
from snakepit._gil import Watch
from snakepit._lifecycle import Lifecycle
from snakepit._native import DUMP_SIGNAL, DecodeError, Link, arm, from_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context, ContextVar
    from typing import Any, NoReturn

    from snakepit._native import CurrentCall, Serving
    from snakepit._zygote import Zygote

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_NOT_STARTED = 3

_USAGE = """\
usage: python -m snakepit.worker --worker-id ID --pool NAME --adapter SPEC
       --link-fd N --liveness-fd N --control-fd N [--shm-fd N] [--capacity N]
       [--adapter-args JSON]
   or: python -m snakepit.worker --zygote --adapter SPEC --channel-fd N

Started by a Snakepit host, which passes the descriptors on."""

_REQUIRED = ("worker-id", "pool", "adapter", "link-fd", "liveness-fd", "control-fd")
_OPTIONAL = ("capacity", "adapter-args", "shm-fd")
_ZYGOTE = ("adapter", "channel-fd")


class _Hooks:
    """What the native dispatch borrows."""

    def __init__(self, context: Context, lifecycle: Lifecycle, gil: Watch) -> None:
        self.current: ContextVar[CurrentCall | None] = current
        self.context = context
        self.runner: Callable[[], object] = lifecycle.runner
        self.health = lifecycle.health
        self.session_ended = lifecycle.session_ended
        self.gil = gil.module


def main(arguments: list[str]) -> NoReturn:
    """Runs a worker until its host says otherwise."""
    _restore_python_path()
    _write_lines_at_once()
    # Before the adapter is imported, here or in the zygote.
    gil = Watch()
    _constants.uncount()
    zygote = None
    if arguments[:1] == ["--zygote"]:
        zygote = _start_zygote(arguments[1:])
        # Comes back in the workers it forks.
        arguments = zygote.serve()
        sys.argv[1:] = arguments
    _work(arguments, zygote, gil)


def _start_zygote(arguments: list[str]) -> Zygote:
    # Workers that are spawned have no use for it.
    from snakepit._zygote import Zygote

    try:
        options = _parse(arguments, _ZYGOTE)
        zygote = Zygote(int(options["channel-fd"]))
    except (OSError, ValueError) as error:
        _refuse(error)
    zygote.load(options["adapter"])
    return zygote


def _work(arguments: list[str], zygote: Zygote | None, gil: Watch) -> NoReturn:
    try:
        options = _parse(arguments, _REQUIRED, _OPTIONAL)
        capacity = int(options.get("capacity", "1"))
        # Without it everything travels over the link.
        shm_fd = int(options["shm-fd"]) if "shm-fd" in options else None
        bind_to_host(int(options["liveness-fd"]), None if zygote is None else zygote.marker)
        link = Link(
            options["worker-id"],
            options["pool"],
            int(options["link-fd"]),
            int(options["control-fd"]),
            capacity,
            shm_fd,
        )
    except ValueError as error:
        _refuse(error)
    lifecycle = Lifecycle() if zygote is None else zygote.lifecycle
    lifecycle.attach(link, capacity)
    if zygote is not None and zygote.error is not None:
        _report(link, lifecycle, options["adapter"], zygote.error)
        _leave(EXIT_NOT_STARTED)
    try:
        adapter_arguments = _adapter_arguments(options.get("adapter-args", "{}"))
        if zygote is None:
            lifecycle.load(options["adapter"])
            lifecycle.preload()
        tools = lifecycle.make(adapter_arguments)
    except BaseException as error:
        _report(link, lifecycle, options["adapter"], error)
        _leave(EXIT_NOT_STARTED)
    code = 0
    try:
        # Taken after setup, so that calls see what it has set.
        _serve(link.open(tools, _Hooks(copy_context(), lifecycle, gil)), capacity)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = EXIT_FAILED
    lifecycle.teardown()
    _flush()
    link.close()
    _leave(code)


def bind_to_host(liveness_fd: int, marker: str | None = None) -> None:
    """Has this process end with its host, and show it its stacks when asked to.

    Args:
        liveness_fd: The socket whose other end the host holds; it is this function's from now on.
        marker: In a process that was forked from a bound one, the mark of its own by which the
            host knows its children; in place of the one in the environment, and as long.
    """
    arm(liveness_fd, marker)
    if marker is not None:
        os.environ["SNAKEPIT_WORKER"] = marker
    # Written by a native handler, so even a tool that holds the GIL is shown. What it is chained to
    # tells the host that this was all.
    faulthandler.register(DUMP_SIGNAL, file=liveness_fd, all_threads=True, chain=True)


def _refuse(error: Exception) -> NoReturn:
    print(f"snakepit.worker: {error}\n{_USAGE}", file=sys.stderr)
    _leave(EXIT_USAGE)


def _parse(
    arguments: list[str], required: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, str]:
    # By hand: argparse costs more than the rest of the start.
    options: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name = argument.removeprefix("--")
        value = next(rest, None)
        if name == argument or name not in required + optional:
            raise ValueError(f"unknown option {argument}")
        if value is None:
            raise ValueError(f"{argument} has no value")
        options[name] = value
    missing = [f"--{name}" for name in required if name not in options]
    if missing:
        raise ValueError(f"missing {', '.join(missing)}")
    return options


def _serve(serving: Serving, capacity: int) -> None:
    """Runs calls on as many threads as there are slots; the first slot is this thread's."""
    if capacity == 1:
        serving.run(0)
        return
    from threading import Thread

    def run(slot: int) -> None:
        try:
            serving.run(slot)
        except BaseException:
            # A worker that has lost a slot is not what its host thinks it is.
            sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
            _leave(EXIT_FAILED)

    threads = [
        Thread(target=run, args=(slot,), name=f"snakepit-{slot}", daemon=True)
        for slot in range(1, capacity)
    ]
    for thread in threads:
        thread.start()
    serving.run(0)
    for thread in threads:
        thread.join()


def _adapter_arguments(text: str) -> dict[str, Any]:
    try:
        arguments = from_json(text)
    except DecodeError as error:
        raise StartError("setup", f"--adapter-args is no JSON: {error}") from None
    if not isinstance(arguments, dict):
        raise StartError("setup", "--adapter-args must be a JSON object")
    return arguments  # type: ignore[reportUnknownVariableType]


def _write_lines_at_once() -> None:
    """Lets the host see each printed line when it is printed, though stdout is a pipe."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(line_buffering=True)


def _restore_python_path() -> None:
    """Takes back what the host has put on PYTHONPATH for this worker alone."""
    added = os.environ.pop("SNAKEPIT_PYTHONPATH_ADDED", None)
    path = os.environ.get("PYTHONPATH")
    if added is None or path is None:
        return
    entries = path.split(os.pathsep)
    if added in entries:
        entries.remove(added)
    if entries:
        os.environ["PYTHONPATH"] = os.pathsep.join(entries)
    else:
        del os.environ["PYTHONPATH"]


def _report(link: Link, lifecycle: Lifecycle, adapter: str, error: BaseException) -> None:
    """Tells host and stderr why the worker cannot start."""
    if isinstance(error, StartError):
        phase, message, help = error.phase, error.message, error.help
        cause = error.__cause__
        print(f"snakepit.worker: adapter `{adapter}`: {error}", file=sys.stderr)
    else:
        phase, cause = lifecycle.phase, error
        name = type(error).__name__
        said = str(error)
        message = f"adapter `{adapter}` failed in {phase}: {f'{name}: {said}' if said else name}"
        help = ""
        sys.excepthook(type(error), error, error.__traceback__)
    link.fail(phase, message, help, cause)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            # It is closed, or nobody reads it any more.
            continue


def _leave(code: int) -> NoReturn:
    """Ends the process without running what may hang: other threads, exit handlers."""
    _flush()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
