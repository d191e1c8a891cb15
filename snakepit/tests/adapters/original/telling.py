"""An adapter of the original's kind that tells of what it does."""

from snakepit_bridge import telemetry
from snakepit_bridge.base_adapter import BaseAdapter, tool


class TellingAdapter(BaseAdapter):
    @tool(description="Tells of one event")
    def predict(self, items: int = 3) -> int:
        telemetry.emit("prediction.made", {"items": items, "score": 0.5}, {"model": "small"})
        return items

    @tool(description="Does something in a span")
    def work(self, fail: bool = False) -> str:
        with telemetry.span("work.done", {"fail": fail}):
            if fail:
                raise ValueError("no work today")
        return telemetry.get_correlation_id()

    @tool(description="Tells of more than can leave at once")
    def flood(self, count: int) -> int:
        for number in range(count):
            telemetry.emit("flood.drop", {"number": number})
        return count
