"""The worker process: `python -m snakepit.worker`.

Owns the order from import to exit, and the report of a start that failed. The options that a host
starts workers with are read natively, as is the link, which has no thread before the adapter is set
up.

With `--zygote` the process loads the adapter and forks workers, each of which goes on as if it had
been started with the arguments that the host sends.

Exit codes: 0 after a shutdown the host asked for, 1 after an exception outside a call, 2 for a
wrong command line, 3 when the adapter could not be started, 4 when the link's rules were broken.
"""

from __future__ import annotations

import os
import sys
from contextvars import copy_context

from snakepit import _constants
from snakepit._context import current
from snakepit._errors import StartError
from snakepit._gil import Watch
from snakepit._lifecycle import Lifecycle
from snakepit._native import (
    DecodeError,
    Link,
    Options,
    arm,
    flush_outputs,
    from_json,
    show_stacks,
)

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


class _Hooks:
    """What the native dispatch borrows. Made before a fork, so that workers share most of it."""

    def __init__(self, lifecycle: Lifecycle, gil: Watch) -> None:
        self.current: ContextVar[CurrentCall | None] = current
        self.runner: Callable[[], object] = lifecycle.runner
        self.health = lifecycle.health
        self.gil = gil.module
        # Both anew when the adapter is set up.
        self.context: Context = copy_context()
        self.session_ended: Callable[[str, dict[str, Any]], None] | None = None


def main(arguments: list[str]) -> NoReturn:
    """Runs a worker until its host says otherwise."""
    _restore_python_path()
    _write_lines_at_once()
    # Before the adapter is imported, here or in the zygote.
    gil = Watch()
    _constants.uncount()
    lifecycle = Lifecycle()
    hooks = _Hooks(lifecycle, gil)
    zygote = None
    try:
        if arguments[:1] == ["--zygote"]:
            zygote = _start_zygote(arguments[1:], lifecycle)
            # Comes back in the workers it forks.
            options = zygote.serve()
        else:
            options = Options(arguments)
            bind_to_host(options.liveness_fd)
        link = Link(options)
    except ValueError as error:
        _refuse(error)
    lifecycle.attach(link, options.capacity)
    if zygote is not None and zygote.error is not None:
        _report(link, lifecycle, options.adapter, zygote.error)
        _leave(EXIT_NOT_STARTED)
    _work(options, link, hooks, lifecycle, loaded=zygote is not None)


def _start_zygote(arguments: list[str], lifecycle: Lifecycle) -> Zygote:
    # Workers that are spawned have no use for it.
    from snakepit._zygote import Zygote

    zygote = Zygote(arguments, lifecycle)
    zygote.load()
    return zygote


def _work(
    options: Options, link: Link, hooks: _Hooks, lifecycle: Lifecycle, *, loaded: bool
) -> NoReturn:
    try:
        adapter_arguments = _adapter_arguments(options.adapter_args)
        if not loaded:
            lifecycle.load(options.adapter)
            lifecycle.preload()
        tools = lifecycle.make(adapter_arguments)
    except BaseException as error:
        _report(link, lifecycle, options.adapter, error)
        _leave(EXIT_NOT_STARTED)
    code = 0
    try:
        # Taken after setup, so that calls see what it has set.
        hooks.context = copy_context()
        hooks.session_ended = lifecycle.session_ended
        _serve(link.open(tools, hooks), options.capacity)
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        code = EXIT_FAILED
    lifecycle.teardown()
    flush_outputs()
    link.close()
    _leave(code)


def bind_to_host(liveness_fd: int) -> None:
    """Has this process end with its host, and show it its stacks when asked to.

    Args:
        liveness_fd: The socket whose other end the host holds; it is this function's from now on.
    """
    arm(liveness_fd)
    # Written by a native handler, so even a tool that holds the GIL is shown.
    show_stacks(liveness_fd)


def _refuse(error: Exception) -> NoReturn:
    print(f"snakepit.worker: {error}\n{_USAGE}", file=sys.stderr)
    _leave(EXIT_USAGE)


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


def _adapter_arguments(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
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


def _leave(code: int) -> NoReturn:
    """Ends the process without running what may hang: other threads, exit handlers."""
    flush_outputs()
    os._exit(code)


if __name__ == "__main__":
    main(sys.argv[1:])
