"""An adapter of the original's kind that imports nothing of it: one method that takes every name."""


class ByName:
    __thread_safe__ = True

    def set_session_context(self, context):
        self.context = context

    def execute_tool(self, tool_name, arguments, context):
        if tool_name == "echo":
            return arguments
        if tool_name == "add":
            return arguments["a"] + arguments["b"]
        if tool_name == "where":
            return [context.session_id, self.context.session_id, context.request_metadata]
        if tool_name == "count":
            return (number for number in range(arguments.get("to", 3)))
        if tool_name == "rows":
            return [{"row": 1}, {"row": 2}]
        raise NotImplementedError(f"Unknown tool: {tool_name}")
