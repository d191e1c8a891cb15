"""A ``ThreadPoolExecutor``, driven over stdin and stdout.

Each line on stdin is a JSON order ``{"threads", "calls", "rounds"}``; the answer is one JSON line with
the seconds taken. An executor is made before its first order and kept.

The work is imported from cached bytecode, whatever the environment says: threads without a GIL get in
each other's way over the constants of a module that was compiled for this process.
"""

import json
import py_compile
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

with tempfile.TemporaryDirectory() as sys.pycache_prefix:
    py_compile.compile(str(Path(__file__).with_name("bench_threads.py")))
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
