"""A thread-safe adapter of the original's kind: shared, locked and thread-local state."""

import threading

from snakepit_bridge.base_adapter_threaded import ThreadSafeAdapter, thread_safe_method, tool


class ThreadedAdapter(ThreadSafeAdapter):
    __thread_safe__ = True

    def __init__(self):
        super().__init__()
        self.model = {"name": "shared"}
        self.total = 0
        self.log = []
        self.session_context = None

    def set_session_context(self, context):
        pass

    @thread_safe_method
    @tool(description="Counts, guarded by the adapter's lock")
    def count(self, amount: int = 1) -> int:
        with self.acquire_lock():
            self.total += amount
            self.log.append(threading.get_ident())
            return self.total

    @thread_safe_method
    @tool(description="What this thread has cached")
    def cached(self, key: str) -> bool:
        cache = self.get_thread_local("cache", {})
        known = key in cache
        cache[key] = True
        self.set_thread_local("cache", cache)
        return known

    @tool(description="Statistics")
    def statistics(self) -> dict:
        with self.acquire_lock():
            return {"total": self.total, "log": len(self.log), **self.get_stats()}


class Undeclared:
    """Nobody has said that its tools may run at the same time."""

    def execute_tool(self, tool_name, arguments, context):
        return tool_name
