"""An adapter of the original's kind whose tools stream."""

from snakepit_bridge.adapters.showcase.tool import StreamChunk
from snakepit_bridge.base_adapter import BaseAdapter, tool

_JOURNAL = []


class StreamingAdapter(BaseAdapter):
    def cleanup(self):
        _JOURNAL.append("cleaned up")

    @tool(description="Yields chunks", supports_streaming=True)
    def stream_data(self, count: int = 5):
        try:
            for index in range(count):
                yield StreamChunk({"index": index + 1, "total": count}, is_final=index == count - 1)
        finally:
            _JOURNAL.append("closed")

    @tool(description="Yields plain maps, for ever", supports_streaming=True)
    def for_ever(self):
        number = 0
        while True:
            number += 1
            yield {"number": number}

    @tool(description="Yields from a coroutine", supports_streaming=True)
    async def async_data(self, count: int = 3):
        try:
            for index in range(count):
                yield {"index": index}
        finally:
            _JOURNAL.append("closed")

    @tool(description="Says that it streams, and returns", supports_streaming=True)
    def search(self, query: str, limit: int = 10):
        return {"results": [], "query": query}

    @tool(description="Fails after one chunk", supports_streaming=True)
    def breaks(self):
        yield StreamChunk({"index": 1})
        raise RuntimeError("broken off")

    @tool(description="What happened, and forgets it")
    def journal(self) -> list:
        told = list(_JOURNAL)
        _JOURNAL.clear()
        return told
