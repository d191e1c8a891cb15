"""Converts one nested document of 100 KB, as calls do and as Python's `json` does."""

import json
import random
import statistics
import time
from collections.abc import Callable

from snakepit import _native, tool

DOCUMENT_BYTES = 100_000


def document() -> dict[str, object]:
    """Makes a document like those of web services: maps in lists in maps, short texts, numbers."""
    rng = random.Random(7)
    users: list[object] = []
    whole = {"version": 3, "generated": "2026-01-01T10:00:00Z", "users": users}
    size = 0
    while size < DOCUMENT_BYTES:
        number = len(users)
        user = {
            "id": 10_000 + number,
            "name": f"user {number}",
            "email": f"user{number}@example.org",
            "active": number % 3 > 0,
            "score": rng.random() * 100,
            "tags": rng.choices(["alpha", "beta", "gamma", "delta"], k=4),
            "address": {
                "street": f"{number} Long Street",
                "zip": f"{rng.randrange(99_999):05}",
                "at": [rng.uniform(-90, 90), rng.uniform(-180, 180)],
            },
            "history": [
                {"at": 1_700_000_000 + rng.randrange(10**7), "kind": "login", "note": None}
                for _ in range(3)
            ],
        }
        users.append(user)
        size += len(json.dumps(user)) + 2
    return whole


_DOCUMENT = document()
_TEXT = json.dumps(_DOCUMENT)
_PACKED = _native.pack(_DOCUMENT)
assert _native.unpack(_PACKED) == json.loads(_TEXT) == _native.from_json(_TEXT) == _DOCUMENT

_STEPS: dict[str, Callable[[], object]] = {
    "read, MessagePack": lambda: _native.unpack(_PACKED),
    "read, JSON in Rust": lambda: _native.from_json(_TEXT),
    "read, Python's json": lambda: json.loads(_TEXT),
    "write, MessagePack": lambda: _native.pack(_DOCUMENT),
    "write, JSON in Rust": lambda: _native.to_json(_DOCUMENT),
    "write, Python's json": lambda: json.dumps(_DOCUMENT),
}


@tool
def sample(rounds: int) -> dict[str, float]:
    """Takes each step so many times, and gives its median in microseconds."""
    spent: dict[str, list[int]] = {name: [] for name in _STEPS}
    rng = random.Random(rounds)
    for _ in range(rounds):
        # What a step finds in the caches is what another one has left there.
        for name, step in rng.sample(list(_STEPS.items()), len(_STEPS)):
            start = time.perf_counter_ns()
            made = step()
            spent[name].append(time.perf_counter_ns() - start)
            del made
    return {name: statistics.median(times) / 1000 for name, times in spent.items()}
