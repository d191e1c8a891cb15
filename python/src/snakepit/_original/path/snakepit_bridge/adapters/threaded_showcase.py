"""The original's showcase of threads, with the tools that need nothing but Python."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from ..base_adapter_threaded import ThreadSafeAdapter, thread_safe_method, tool

__all__ = ["ThreadedShowcaseAdapter"]


class ThreadedShowcaseAdapter(ThreadSafeAdapter):
    """Shows shared state behind a lock, and values of each thread."""

    __thread_safe__ = True

    def __init__(self) -> None:
        super().__init__()
        self.request_history: list[dict[str, Any]] = []

    @thread_safe_method
    @tool(description="Computes something, and remembers it in the thread that did")
    def compute_intensive(self, data: list[float], iterations: int = 1000) -> dict[str, Any]:
        """Runs a formula over numbers, again and again."""
        cache: dict[Any, Any] = self.get_thread_local("compute_cache", {})
        key = (tuple(data), iterations)
        cached = key in cache
        began = time.perf_counter()
        if not cached:
            values = [float(value) for value in data]
            for _ in range(iterations):
                values = [math.sin(x) * math.cos(x) + x * 0.1 for x in values]
            cache[key] = sum(values) / len(values) if values else 0.0
            self.set_thread_local("compute_cache", cache)
        self._remember("compute_intensive", time.perf_counter() - began)
        return {
            "result": cache[key],
            "iterations": iterations,
            "input_size": len(data),
            "cached": cached,
            "thread": threading.current_thread().name,
        }

    @thread_safe_method
    @tool(description="Counts for a while")
    def stress_test(self, duration_ms: int = 100, complexity: int = 1000) -> dict[str, Any]:
        """Keeps one processor busy."""
        began = time.perf_counter()
        iterations = 0
        while time.perf_counter() - began < duration_ms / 1000:
            sum(number * number for number in range(complexity))
            iterations += 1
        self._remember("stress_test", time.perf_counter() - began)
        return {"iterations": iterations, "thread": threading.current_thread().name}

    @thread_safe_method
    @tool(description="Says what was counted")
    def get_adapter_stats(self) -> dict[str, Any]:
        """Gives the statistics of all threads."""
        with self.acquire_lock():
            return {**self.get_stats(), "history_entries": len(self.request_history)}

    @thread_safe_method
    @tool(description="Gives the latest requests")
    def get_history(self, limit: int = 10) -> dict[str, Any]:
        """Gives the latest requests of all threads."""
        with self.acquire_lock():
            entries = [dict(entry) for entry in self.request_history[-limit:]]
            return {"entries": entries, "total_entries": len(self.request_history)}

    @thread_safe_method
    @tool(description="Forgets what this thread remembers")
    def clear_caches(self) -> dict[str, str]:
        """Empties the cache of the thread that runs it."""
        self.clear_thread_local()
        return {"status": "success", "thread": threading.current_thread().name}

    def _remember(self, what: str, seconds: float) -> None:
        with self.acquire_lock():
            self.request_history.append({"tool": what, "execution_time": seconds})
            # The history is a window.
            del self.request_history[:-1000]
