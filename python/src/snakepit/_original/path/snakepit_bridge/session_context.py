"""The session context that adapters are given."""

from snakepit._original.session import SessionContext

__all__ = ["SessionContext"]
