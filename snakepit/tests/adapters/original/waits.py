"""An adapter of the original's kind whose every step is a coroutine function."""

import asyncio
from contextvars import ContextVar

from snakepit_bridge.adapters.showcase.tool import StreamChunk

_STEP: ContextVar[str] = ContextVar("step", default="none")
_JOURNAL = []


class WaitingAdapter:
    __thread_safe__ = True

    def __init__(self):
        self.session_context = None
        self.initialized = False

    def set_session_context(self, session_context):
        self.session_context = session_context

    async def initialize(self):
        await asyncio.sleep(0)
        self.initialized = True
        _STEP.set("initialized")

    async def cleanup(self):
        await asyncio.sleep(0)
        _JOURNAL.append("cleaned up")

    async def execute_tool(self, tool_name, arguments, context):
        await asyncio.sleep(0)
        handler = getattr(self, f"_{tool_name}", None)
        if handler is None:
            raise AttributeError(f"no tool {tool_name}")
        result = handler(**arguments)
        return await result if asyncio.iscoroutine(result) else result

    async def _state(self):
        return [self.initialized, _STEP.get(), self.session_context.session_id]

    async def _stuck(self):
        await asyncio.Event().wait()

    def _journal(self):
        told = list(_JOURNAL)
        _JOURNAL.clear()
        return told

    async def _ticks(self, count=3, fail_at=-1):
        for index in range(count):
            if index == fail_at:
                raise RuntimeError(f"no tick {index}")
            await asyncio.sleep(0)
            yield StreamChunk(data={"tick": index}, is_final=index == count - 1)
