"""An adapter of the original's kind: marked methods, hooks around each call, state in the module."""

from typing import Any, Dict, List, Optional

from snakepit_bridge.base_adapter import BaseAdapter, tool

# What the hooks did, in order; an adapter of this kind keeps its state in the module.
_JOURNAL: List[str] = []
_MODEL_CACHE: Dict[str, Any] = {}


class CalculatorAdapter(BaseAdapter):
    def __init__(self):
        super().__init__()
        self.session_context = None
        self.model = None
        self.calls = 0
        _JOURNAL.append("made")

    def set_session_context(self, session_context):
        self.session_context = session_context
        _JOURNAL.append(f"session {session_context.session_id}")

    def initialize(self):
        if "model" not in _MODEL_CACHE:
            _MODEL_CACHE["model"] = {"loaded": 0}
        _MODEL_CACHE["model"]["loaded"] += 1
        self.model = _MODEL_CACHE["model"]
        _JOURNAL.append("initialized")

    def cleanup(self):
        self.model = None
        _JOURNAL.append("cleaned up")

    @tool(description="Adds two numbers")
    def add(self, a: float, b: float) -> float:
        self.calls += 1
        return a + b

    @tool
    def scale(self, values: list = None, by: float = 2.0) -> List[float]:
        """Multiplies each of some numbers."""
        return [value * by for value in values or [1, 2]]

    @tool(description="Takes any names", required_variables=["api_key"])
    def echo(self, **kwargs) -> Dict[str, Any]:
        return {"echoed": kwargs}

    @tool(description="Takes inputs as a map or as JSON text")
    def predict(self, inputs: Dict[str, Any], context: Optional[str] = None) -> Dict[str, Any]:
        return {"inputs": inputs, "kind": type(inputs).__name__, "model": self.model["loaded"] > 0}

    @tool(description="How often this object was called")
    def object_calls(self) -> int:
        self.calls += 1
        return self.calls

    @tool(description="What the hooks did before this call, and forgets it")
    def journal(self) -> List[str]:
        told = list(_JOURNAL)
        _JOURNAL.clear()
        return told

    @tool(description="Fails")
    def fail(self, message: str = "as asked") -> None:
        raise ValueError(message)

    @tool(description="Who is calling")
    def whoami(self) -> Dict[str, Any]:
        return {
            "session_id": self.session_context.session_id,
            "metadata": self.session_context.request_metadata,
        }

    def helper(self):
        """No tool."""
