"""A store of programs, as DSPex keeps them: in the module, by name."""

import json
import logging
import uuid
from typing import Any, Dict, Optional

from snakepit_bridge import SessionContext
from snakepit_bridge.base_adapter import BaseAdapter, tool

logger = logging.getLogger(__name__)

try:
    import dspy_that_is_not_there as dspy
except ImportError:
    dspy = None

_MODULE_STORAGE: Dict[str, Any] = {}


class ProgramAdapter(BaseAdapter):
    def __init__(self):
        super().__init__()
        self.session_context: Optional[SessionContext] = None

    def set_session_context(self, context: SessionContext):
        self.session_context = context

    def _key(self, name: str) -> str:
        return f"{self.session_context.session_id}/{name}"

    @tool(description="Create a program")
    def create_program(self, name: str, program_type: str, signature_name: str = "", **kwargs):
        if program_type not in ("predict", "chain_of_thought"):
            return {"success": False, "error": f"Unknown program type: {program_type}"}
        _MODULE_STORAGE[self._key(name)] = {"type": program_type, "options": kwargs}
        return {"success": True, "name": name, "type": program_type, "id": str(uuid.uuid4())}

    @tool(description="Execute a program")
    def execute_program(self, name: str, inputs: Dict[str, Any]) -> Dict[str, Any]:
        program = _MODULE_STORAGE.get(self._key(name))
        if program is None:
            return {"success": False, "error": f"Program not found: {name}"}
        if isinstance(inputs, str):
            inputs = json.loads(inputs)
        return {"success": True, "result": {**inputs, "by": program["type"], **program["options"]}}

    @tool(description="Health check")
    def ping(self) -> Dict[str, Any]:
        return {"status": "ok", "dspy_available": dspy is not None}
