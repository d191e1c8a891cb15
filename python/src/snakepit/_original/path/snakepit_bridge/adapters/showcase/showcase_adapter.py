"""The showcase adapter, by the original's longer name."""

from . import ShowcaseAdapter

__all__ = ["ShowcaseAdapter"]
