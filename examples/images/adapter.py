"""Tools on images: one finds edges, one measures them, one sorts pictures into kinds.

Run by `cargo run -p snakepit --example images`. The pictures lie in memory that the Rust program
and its workers share, and so does what `edges` returns.
"""

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

import snakepit

RED_GREEN_BLUE = np.array([0.299, 0.587, 0.114], dtype=np.float32)


@snakepit.tool
def edges(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Finds edges.

    Args:
        image: Pixels of the shape `(height, width, 3)`.

    Returns:
        How much the brightness changes downwards and to the right, of the shape
        `(2, height, width)`; nothing at the borders.
    """
    height, width, _ = image.shape
    grey = image @ RED_GREEN_BLUE
    # Where the Rust program can read it: the result is written once, and is nowhere copied.
    found = snakepit.context.empty((2, height, width), "float32")
    found[:] = 0
    np.subtract(grey[2:], grey[:-2], out=found[0, 1:-1])
    np.subtract(grey[:, 2:], grey[:, :-2], out=found[1, :, 1:-1])
    return found


@snakepit.tool
def strength(edges: NDArray[np.float32]) -> list[float]:
    """Says how strong edges are on average, in either direction."""
    return [float(np.abs(direction).mean()) for direction in edges]


@snakepit.tool
def sort(strengths: NDArray[np.float64], kinds: int) -> list[int]:
    """Sorts pictures into so many kinds by their edges: the kind of each, from 0."""
    model = KMeans(kinds, n_init=4, random_state=0)
    return model.fit_predict(strengths).tolist()
