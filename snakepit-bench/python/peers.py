"""What Python itself offers for the same work, driven over stdin and stdout.

Each line on stdin is a JSON order ``{"peer", "kind", "calls", "window"}``; the answer is one JSON
line with the seconds taken and, for a window of one, the latency of each call in microseconds.
Pools are made once, before the first order, with spawned processes.
"""

import json
import multiprocessing
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor

import bench_adapter

TEXT = "the quick brown fox jumps over the lazy dog " * 3


def arguments(kind: str, size: int):
    if kind == "echo":
        return bench_adapter.echo, (bytes(size),)
    return bench_adapter.small, (7, TEXT)


def serial(call, count: int) -> list[float]:
    latencies = []
    for _ in range(count):
        start = time.perf_counter()
        call()
        latencies.append((time.perf_counter() - start) * 1e6)
    return latencies


def windowed(submit, count: int, window: int) -> None:
    """Keeps ``window`` calls under way; ``submit`` takes a callback for the end of each."""
    room = threading.Semaphore(window)
    done = threading.Semaphore(0)

    def finished(_):
        room.release()
        done.release()

    for _ in range(count):
        room.acquire()
        submit(finished)
    for _ in range(count):
        done.acquire()


def main() -> None:
    workers = int(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    pool = context.Pool(workers)
    executor = ProcessPoolExecutor(workers, mp_context=context)
    for order in map(json.loads, sys.stdin):
        function, args = arguments(order["kind"], order.get("size", 0))
        calls, window = order["calls"], order["window"]
        if order["peer"] == "multiprocessing.Pool":
            one = lambda: pool.apply(function, args)
            submit = lambda done: pool.apply_async(function, args, callback=done)
        else:
            one = lambda: executor.submit(function, *args).result()
            submit = lambda done: executor.submit(function, *args).add_done_callback(done)
        start = time.perf_counter()
        latencies = serial(one, calls) if window == 1 else windowed(submit, calls, window)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "latencies_us": latencies or []}), flush=True)
    pool.terminate()
    executor.shutdown()


if __name__ == "__main__":
    main()
