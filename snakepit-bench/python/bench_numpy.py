"""Tools on arrays, and one for workers whose start with numpy is measured."""

import os
import time

import numpy as np

try:
    from snakepit import tool
except ImportError:  # the peers' interpreter need not have the worker package

    def tool(function):
        return function


# They share nothing that changes.
__thread_safe__ = True


def array(size: int) -> np.ndarray:
    """So many bytes of numbers."""
    return np.arange(size // 8, dtype=np.float64)


@tool
def size(value: object) -> int:
    """Looks at what it was given, and at nothing in it."""
    return getattr(value, "nbytes", 0)


@tool
def echo(value: object) -> object:
    """Gives back what it was given."""
    return value


@tool
def negate(value: np.ndarray) -> np.ndarray:
    """Makes another array of the same size."""
    return np.negative(value)


@tool
def who() -> int:
    """Uses what was imported for a moment, and says which process did."""
    np.arange(16).sum()
    time.sleep(0.005)
    return os.getpid()


@tool
def multiply(size: int) -> float:
    """The product of two square matrices of random numbers."""
    random = np.random.default_rng()
    left, right = random.random((size, size)), random.random((size, size))
    return float(np.dot(left, right)[0, 0])
