"""The showcase adapter, by the original's name."""

from snakepit.showcase import Showcase

ShowcaseAdapter = Showcase

__all__ = ["ShowcaseAdapter"]
