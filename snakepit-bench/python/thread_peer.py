"""A ``ThreadPoolExecutor``, driven over stdin and stdout.

Each line on stdin is a JSON order ``{"threads", "calls", "rounds"}``; the answer is one JSON line with
the seconds taken. An executor is made before its first order and kept.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import bench_threads


def main() -> None:
    executors: dict[int, ThreadPoolExecutor] = {}
    for order in map(json.loads, sys.stdin):
        threads, calls, rounds = order["threads"], order["calls"], order["rounds"]
        executor = executors.setdefault(threads, ThreadPoolExecutor(threads))
        start = time.perf_counter()
        for result in [executor.submit(bench_threads.burn, rounds) for _ in range(calls)]:
            result.result()
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
