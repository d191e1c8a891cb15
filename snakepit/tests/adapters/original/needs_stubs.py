"""An adapter that calls the original's host over gRPC itself, which there is none to answer."""

from snakepit_bridge.base_adapter import BaseAdapter, tool
from snakepit_bridge_pb2 import ExecuteElixirToolRequest


class StubAdapter(BaseAdapter):
    @tool(description="Calls the host")
    def call(self):
        return ExecuteElixirToolRequest()
