"""A thread-safe adapter of the original's kind that asks for its session in several places."""

import threading

from snakepit_bridge.base_adapter_threaded import ThreadSafeAdapter, tool

_MEETING = threading.Barrier(2, timeout=50)


class SessionAdapter(ThreadSafeAdapter):
    @tool(description="Waits for another call, then says whose this one is")
    def whose(self) -> str:
        _MEETING.wait()
        return self.session_context.session_id
