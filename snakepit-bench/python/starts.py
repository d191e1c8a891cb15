"""Starts a ``ProcessPoolExecutor`` of spawned processes and says when all of them have answered.

Prints one JSON line with the seconds taken and the processes, and ends when stdin does.
"""

import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor

BARRIER = None


def prepare(barrier) -> None:
    global BARRIER
    BARRIER = barrier


def answer() -> int:
    import bench_numpy

    # Nobody answers twice before everybody is there.
    BARRIER.wait()
    return bench_numpy.who()


def main() -> None:
    workers = int(sys.argv[1])
    context = multiprocessing.get_context("spawn")
    start = time.perf_counter()
    barrier = context.Barrier(workers)
    executor = ProcessPoolExecutor(
        workers, mp_context=context, initializer=prepare, initargs=(barrier,)
    )
    answers = [executor.submit(answer) for _ in range(workers)]
    pids = sorted({answer.result() for answer in answers})
    seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "pids": pids}), flush=True)
    sys.stdin.read()
    executor.shutdown()


if __name__ == "__main__":
    main()
