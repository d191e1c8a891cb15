"""A classifier for handwritten digits, served by Snakepit.

Trained on the first half of scikit-learn's bundled digits (8 by 8 pixels, values 0 to 16); the
second half, by other writers, is held out. Only training sees the first half, only measurement the
second.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from sklearn.datasets import load_digits
from sklearn.svm import SVC

from snakepit import context, tool

PIXELS = 64


def halves() -> tuple[tuple[Any, Any], tuple[Any, Any]]:
    """Return ``(pixels, labels)`` of the training half and of the held-out half.

    Pixels have the shape ``(samples, 64)``, labels the shape ``(samples,)``.
    """
    pixels, labels = load_digits(return_X_y=True)
    middle = len(labels) // 2
    return (pixels[:middle], labels[:middle]), (pixels[middle:], labels[middle:])


class DigitsClassifier:
    """Says which digit an image shows."""

    model: ClassVar[SVC]

    @classmethod
    def preload(cls) -> None:
        """Train once, in the template that workers are forked from: they share the model."""
        (pixels, labels), _ = halves()
        cls.model = SVC(gamma=0.001).fit(pixels, labels)

    @tool
    def predict(self, pixels: list[float]) -> int:
        """Return the digit that 64 pixels show, row by row, each from 0 (white) to 16."""
        if len(pixels) != PIXELS:
            raise ValueError(f"expected {PIXELS} pixels, got {len(pixels)}")
        return int(self.model.predict(np.asarray([pixels]))[0])

    @tool
    def evaluate(self) -> Iterator[dict[str, float]]:
        """Measure each digit on the held-out half; one result per digit, as it is known."""
        _, (pixels, labels) = halves()
        for digit in range(10):
            of_digit = pixels[labels == digit]
            found = int((self.model.predict(of_digit) == digit).sum())
            context.progress(digit + 1, 10, f"digit {digit}")
            yield {
                "digit": digit,
                "samples": len(of_digit),
                "accuracy": round(found / len(of_digit), 4),
            }
