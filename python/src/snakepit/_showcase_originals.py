"""The tools of the original's showcase adapter, by their names and with their results.

Owns those that need nothing but Python; `snakepit.showcase` is the one to read as an example.
"""

import os
import time
from collections.abc import Iterator
from typing import Any

from snakepit import ThreadSafeAdapter, context, tool

# So that a stream without a pace of its own ends soon after nobody reads it any more.
_NAP_SECONDS = 0.05


class OriginalTools(ThreadSafeAdapter):
    """Tools by the original's names, and the counters of sessions that they share with others."""

    def __init__(self) -> None:
        self._counters: dict[str, int] = {}

    def count(self, amount: int, *, start: int | None = None) -> int:
        """Counts in the session of the running call, or for all calls that have none.

        Args:
            amount: By how much.
            start: From where; from where it was left by default.
        """
        with self.lock("counters"):
            counters = context.session if context.session_id else self._counters
            before = counters.get("count", 0) if start is None else start
            counters["count"] = before + amount
            return counters["count"]

    @tool
    def adapter_info(self) -> dict[str, Any]:
        """Says what this adapter is."""
        return {
            "adapter_name": "ShowcaseAdapter",
            "version": "2.0.0",
            "capabilities": ["binary", "streaming", "sessions"],
        }

    @tool
    def basic_echo(self, message: str) -> dict[str, Any]:
        """Gives back a message.

        Args:
            message: The message.
        """
        return {"echoed": {"message": message}}

    @tool
    def basic_add(self, a: float, b: float) -> float:
        """Adds two numbers.

        Args:
            a: The first number.
            b: The second number.
        """
        return a + b

    @tool
    def process_text(self, text: str, operation: str = "upper") -> dict[str, Any]:
        """Does something with a text.

        Args:
            text: The text.
            operation: `upper`, `lower`, `reverse` or `length`.
        """
        results: dict[str, Any] = {
            "upper": text.upper(),
            "lower": text.lower(),
            "reverse": text[::-1],
            "length": len(text),
        }
        said: dict[str, Any] = {"original": text, "operation": operation}
        if operation in results:
            return {**said, "result": results[operation], "success": True}
        error = f"Unknown operation: {operation}"
        return {**said, "error": error, "available_operations": list(results), "success": False}

    @tool
    def get_stats(self) -> dict[str, Any]:
        """Says what this worker uses."""
        from resource import RUSAGE_SELF, getrusage

        used = getrusage(RUSAGE_SELF)
        adapter = {"name": "ShowcaseAdapter", "session_id": context.session_id}
        system = {
            "timestamp": time.time(),
            "pid": os.getpid(),
            "memory_usage_mb": round(used.ru_maxrss / 1024, 2),
            "cpu_seconds": used.ru_utime + used.ru_stime,
        }
        return {"adapter": adapter, "system": system, "success": True}

    @tool
    def process_binary(self, data: bytes, operation: str = "checksum") -> dict[str, Any]:
        """Does something with bytes.

        Args:
            data: The bytes.
            operation: `checksum`; `size` gives the size alone.
        """
        if operation == "size":
            return {"size": len(data)}
        if operation != "checksum":
            raise ValueError(f"unknown operation `{operation}`: it is `checksum` or `size`")
        from hashlib import sha256

        return {"checksum": sha256(data).hexdigest(), "size": len(data)}

    @tool
    def error_demo(self, error_type: str = "generic") -> None:
        """Raises an exception.

        Args:
            error_type: `value`, `runtime`, or any other for a plain one.
        """
        errors: dict[str, type[Exception]] = {"value": ValueError, "runtime": RuntimeError}
        raise errors.get(error_type, Exception)(f"a demonstration: {error_type}")

    @tool
    def init_session(self) -> dict[str, Any]:
        """Starts to count in this session from nothing."""
        self.count(0, start=0)
        session = context.session_id or "default"
        return {"timestamp": time.time(), "worker_pid": os.getpid(), "session_id": session}

    @tool
    def set_counter(self, value: int) -> dict[str, int]:
        """Sets the counter of this session.

        Args:
            value: To what.
        """
        return {"value": self.count(0, start=value)}

    @tool
    def get_counter(self) -> dict[str, int]:
        """Gives the counter of this session."""
        return {"value": self.count(0)}

    @tool
    def increment_counter(self) -> dict[str, int]:
        """Adds one to the counter of this session."""
        return {"value": self.count(1)}

    @tool
    def get_worker_info(self, call_number: int = 0) -> dict[str, Any]:
        """Says which worker this is.

        Args:
            call_number: Comes back.
        """
        session = context.session_id or "default"
        return {"worker_pid": str(os.getpid()), "call_number": call_number, "session_id": session}

    @tool
    def sleep_task(self, duration_ms: int, task_number: int = 0) -> dict[str, int]:
        """Waits, but not longer than anybody waits for it.

        Args:
            duration_ms: How long.
            task_number: Comes back.
        """
        _wait(duration_ms / 1000)
        return {"task_number": task_number, "slept_ms": duration_ms}

    @tool
    def lightweight_task(self, iteration: int) -> dict[str, int]:
        """Doubles a number.

        Args:
            iteration: The number.
        """
        return {"iteration": iteration, "result": iteration * 2}

    @tool
    def stream_progress(self, steps: int = 10, delay_ms: int = 500) -> Iterator[dict[str, Any]]:
        """Yields how far it is.

        Args:
            steps: How many steps there are.
            delay_ms: Time between two of them.
        """
        began = time.monotonic()
        for step in range(1, steps + 1):
            context.progress(step, steps)
            yield {
                "step": step,
                "total": steps,
                "progress": round(step / steps * 100, 1),
                "message": f"Processing step {step}/{steps}",
                "elapsed_ms": round((time.monotonic() - began) * 1000, 1),
            }
            if step < steps:
                _wait(delay_ms / 1000)

    @tool
    def stream_fibonacci(self, count: int = 20) -> Iterator[dict[str, int]]:
        """Yields Fibonacci's numbers.

        Args:
            count: How many.
        """
        value, following = 0, 1
        for index in range(1, count + 1):
            yield {"index": index, "value": value}
            value, following = following, value + following

    @tool
    def infinite_stream(self, delay_ms: int = 500) -> Iterator[dict[str, Any]]:
        """Yields until nobody reads any more.

        Args:
            delay_ms: Time between two items.
        """
        number = 0
        while True:
            number += 1
            yield {"message": f"Message #{number}", "timestamp": time.time()}
            _wait(delay_ms / 1000)


def _wait(seconds: float) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        context.check_cancelled()
        time.sleep(min(left, _NAP_SECONDS))
