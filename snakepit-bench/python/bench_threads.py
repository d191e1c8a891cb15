"""Work for the comparison of threads and processes."""

import os

try:
    from snakepit import tool
except ImportError:  # the peers' interpreter need not have the worker package

    def tool(function):
        return function


# They share nothing that changes.
__thread_safe__ = True

# The benchmark says how large; its name is also in the section's text.
_MODEL_BYTES = int(os.environ.get("BENCH_MODEL_BYTES", "0"))
_model = b""


def preload() -> None:
    """Loads the model: where workers are forked, once for all of them."""
    global _model
    # Written once, so that every page is there, and not all alike.
    _model = os.urandom(1 << 16) * (_MODEL_BYTES >> 16)


@tool
def burn(rounds: int) -> int:
    """Computes in pure Python, with small objects of its own."""
    total = 0
    for i in range(rounds):
        total = (total * 31 + i) & 0xFFFF
    return total


@tool
def look(step: int) -> int:
    """Reads the whole model, a byte of each page; says which process did."""
    sum(_model[::step])
    return os.getpid()
