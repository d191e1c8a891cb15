"""Calls tools of its host, as adapters of the original do."""

from snakepit_bridge.base_adapter import BaseAdapter, tool


class ElixirTools(BaseAdapter):
    def __init__(self):
        super().__init__()
        self.session_context = None

    def set_session_context(self, session_context):
        self.session_context = session_context

    @tool(description="What the host offers")
    def offered(self):
        tools = self.session_context.elixir_tools
        return {name: tools[name]["description"] for name in tools}

    @tool(description="Has the host double a number")
    def doubled(self, n):
        direct = self.session_context.elixir_tools["double"](n=n)
        return [direct, self.session_context.call_elixir_tool("double", n=n)]

    @tool(description="Calls what is not there")
    def missing(self):
        try:
            self.session_context.call_elixir_tool("nothing")
        except ValueError as error:
            return str(error)

    @tool(description="Forgets what to double, and does not mind what follows")
    def wrong(self):
        self.session_context.call_elixir_tool("double")
