"""What others offer for the same work, driven over stdin and stdout: ``peers.py PEER WORKERS``.

The first line on stdout says whether the peer can be had: ``{"version": …}`` or ``{"missing": …}``. Each
line on stdin is a JSON order, answered by one JSON line:

``{"do": "sample", "kind", "size", "calls", "window"}``
    the seconds taken and, for a window of one, the latency of each call in microseconds.
``{"do": "start", "workers"}``
    a pool of its own with numpy, kept until the next order: seconds until so many processes have
    answered.
``{"do": "recycle", "calls", "window", "limit"}``
    the seconds taken by a pool of its own whose workers are replaced after so many calls, and the
    calls that failed; ``{"unsupported": …}`` where there is no such thing.
``{"do": "kill", "calls"}``
    one worker is killed under so many calls: how many of them were lost (failed, or not answered in
    time), the seconds until a call ends well again, and until as many processes answer as before,
    each null if that never comes.

An order that fails is answered with ``{"error": …}``.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import (
    BrokenExecutor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)

import bench_adapter

TEXT = "the quick brown fox jumps over the lazy dog " * 3
# How long a call may stay away before it is called lost.
PATIENCE_SECONDS = 5.0
# How long many workers may take to start.
START_SECONDS = 180.0


def who() -> int:
    import bench_numpy

    return bench_numpy.who()


class Unsupported(Exception):
    pass


class Executor:
    """Whatever has the interface of ``concurrent.futures``."""

    def __init__(self, make, version: str, recyclable: bool) -> None:
        self.make, self.version, self.recyclable = make, version, recyclable

    def open(self, workers: int, limit: int | None = None):
        if limit is None:
            return self.make(workers)
        if not self.recyclable:
            raise Unsupported("workers are not replaced")
        return self.make(workers, max_tasks_per_child=limit)

    def submit(self, pool, function, args) -> Future:
        return pool.submit(function, *args)

    def close(self, pool) -> None:
        pool.shutdown()


class Multiprocessing:
    def __init__(self) -> None:
        self.version = "python " + sys.version.split()[0]

    def open(self, workers: int, limit: int | None = None):
        return multiprocessing.get_context("spawn").Pool(workers, maxtasksperchild=limit)

    def submit(self, pool, function, args) -> Future:
        future: Future = Future()
        pool.apply_async(
            function, args, callback=future.set_result, error_callback=future.set_exception
        )
        return future

    def close(self, pool) -> None:
        pool.terminate()


class Ray:
    def __init__(self) -> None:
        import ray

        self.ray, self.version = ray, "ray " + ray.__version__
        ray.init(
            num_cpus=256, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )

        @ray.remote(num_cpus=1, max_restarts=-1)
        class Actor:
            def run(self, function, args):
                return function(*args)

        self.Actor = Actor

    def open(self, workers: int, limit: int | None = None):
        if limit is not None:
            raise Unsupported("actors are not replaced after so many calls")
        return {"actors": [self.Actor.remote() for _ in range(workers)], "next": 0}

    def submit(self, pool, function, args) -> Future:
        pool["next"] = (pool["next"] + 1) % len(pool["actors"])
        return pool["actors"][pool["next"]].run.remote(function, args).future()

    def close(self, pool) -> None:
        for actor in pool["actors"]:
            self.ray.kill(actor)


def processes(method: str) -> Executor:
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["bench_adapter", "bench_numpy"])
    make = lambda workers, **more: ProcessPoolExecutor(workers, mp_context=context, **more)
    # Replacing workers came with Python 3.11.
    return Executor(make, "python " + sys.version.split()[0], sys.version_info >= (3, 11))


def threads() -> Executor:
    assert not sys._is_gil_enabled(), "the comparison is with an interpreter without a GIL"
    return Executor(ThreadPoolExecutor, "python " + sys.version.split(" (")[0], False)


def loky() -> Executor:
    import loky

    make = lambda workers: loky.ProcessPoolExecutor(workers)
    return Executor(make, "loky " + loky.__version__, False)


PEERS = {
    "multiprocessing.Pool": Multiprocessing,
    "ProcessPoolExecutor": lambda: processes("spawn"),
    "ProcessPoolExecutor, forkserver": lambda: processes("forkserver"),
    "ThreadPoolExecutor, 3.14t": threads,
    "loky": loky,
    "Ray actors": Ray,
}


def arguments(kind: str, size: int):
    if kind == "echo":
        return bench_adapter.echo, (bytes(size),)
    if kind in ("array", "negate"):
        import bench_numpy

        function = bench_numpy.echo if kind == "array" else bench_numpy.negate
        return function, (bench_numpy.array(size),)
    return bench_adapter.small, (7, TEXT)


def serial(one, count: int) -> list[float]:
    latencies = []
    for _ in range(count):
        start = time.perf_counter()
        one()
        latencies.append((time.perf_counter() - start) * 1e6)
    return latencies


def windowed(submit, count: int, window: int) -> int:
    """Keeps ``window`` calls under way; gives how many of all failed."""
    room, done, failed = threading.Semaphore(window), threading.Semaphore(0), []

    def finished(future: Future) -> None:
        if future.exception() is not None:
            failed.append(future)
        room.release()
        done.release()

    for _ in range(count):
        room.acquire()
        submit().add_done_callback(finished)
    for _ in range(count):
        done.acquire()
    return len(failed)


class Driver:
    def __init__(self, peer, workers: int) -> None:
        self.peer, self.workers = peer, workers
        self.pool = None
        self.started = None

    def submit(self, pool, function, args) -> Future:
        return self.peer.submit(pool, function, args)

    def pids(self, pool, function, count: int, patience: float) -> set[int]:
        """Calls until so many processes have answered; calls that fail are made again."""
        found: set[int] = set()
        end = time.monotonic() + patience
        while len(found) < count and time.monotonic() < end:
            calls = [self.submit(pool, function, ()) for _ in range(count)]
            wait(calls, max(0.1, end - time.monotonic()))
            found.update(c.result() for c in calls if c.done() and c.exception() is None)
        return found

    def sample(self, order) -> dict:
        if self.pool is None:
            self.pool = self.peer.open(self.workers)
        function, args = arguments(order["kind"], order.get("size", 0))
        calls, window = order["calls"], order["window"]
        submit = lambda: self.submit(self.pool, function, args)
        start = time.perf_counter()
        if window == 1:
            latencies, failed = serial(lambda: submit().result(), calls), 0
        else:
            latencies, failed = [], windowed(submit, calls, window)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "latencies_us": latencies, "failed": failed}

    def start(self, order) -> dict:
        if self.started is not None:
            self.peer.close(self.started)
            self.started = None
        # Threads of one process answer with one id.
        one = isinstance(self.peer, Executor) and "free" in self.peer.version
        count = 1 if one else order["workers"]
        start = time.perf_counter()
        self.started = self.peer.open(order["workers"])
        found = self.pids(self.started, who, count, START_SECONDS)
        if len(found) < count:
            raise TimeoutError(f"{len(found)} of {count} answered within {START_SECONDS:.0f} s")
        return {"seconds": time.perf_counter() - start}

    def recycle(self, order) -> dict:
        pool = self.peer.open(self.workers, order["limit"])
        function, args = arguments("small", 0)
        start = time.perf_counter()
        failed = windowed(
            lambda: self.submit(pool, function, args), order["calls"], order["window"]
        )
        seconds = time.perf_counter() - start
        self.peer.close(pool)
        return {"seconds": seconds, "failed": failed}

    def kill(self, order) -> dict:
        if isinstance(self.peer, Executor) and "free" in self.peer.version:
            raise Unsupported("its threads are this process")
        pool = self.peer.open(self.workers)
        victim = next(iter(self.pids(pool, bench_adapter.pid, self.workers, START_SECONDS)))
        calls = [self.submit(pool, bench_adapter.nap, (5.0,)) for _ in range(order["calls"])]
        time.sleep(0.01)
        killed = time.perf_counter()
        os.kill(victim, signal.SIGKILL)
        recovered = whole = None
        while recovered is None and time.perf_counter() - killed < PATIENCE_SECONDS:
            try:
                self.submit(pool, bench_adapter.nap, (1.0,)).result(1.0)
                recovered = time.perf_counter() - killed
            except BrokenExecutor:
                break  # it says itself that it never runs a call again
            except Exception:
                time.sleep(0.01)
        if recovered is not None:
            found = self.pids(pool, bench_adapter.pid, self.workers, PATIENCE_SECONDS)
            whole = time.perf_counter() - killed if len(found) == self.workers else None
        wait(calls, max(0.1, PATIENCE_SECONDS - (time.perf_counter() - killed)))
        lost = sum(not call.done() or call.exception() is not None for call in calls)
        threading.Thread(target=self.peer.close, args=(pool,), daemon=True).start()
        return {"lost": lost, "recovered": recovered, "whole": whole}


def main() -> None:
    name, workers = sys.argv[1], int(sys.argv[2])
    # Some peers print of their own accord; only answers go to whoever drives us.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(answer: dict) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    try:
        driver = Driver(PEERS[name](), workers)
    except Exception as error:
        say({"missing": f"{type(error).__name__}: {error}"})
        return
    say({"version": driver.peer.version})
    for order in map(json.loads, sys.stdin):
        try:
            answer = getattr(driver, order["do"])(order)
        except Unsupported as error:
            answer = {"unsupported": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        say(answer)
    # Pools that are broken may never be done with their shutdown.
    for pool in (driver.pool, driver.started):
        if pool is not None:
            threading.Thread(target=driver.peer.close, args=(pool,), daemon=True).start()
    time.sleep(0.2)
    for child in multiprocessing.active_children():
        # Not by their own method, which loky's have not.
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
    os._exit(0)


if __name__ == "__main__":
    main()
