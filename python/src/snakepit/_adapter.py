"""The optional base class of adapters.

Owns names and types only: a class without it is as good an adapter.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable
    from typing import Any


class Adapter:
    """Groups tools that share state; made once per worker.

    All methods here are optional, and those that return nothing may be coroutines. What a tool
    needs from another process, such as a connection, belongs in `setup`; what can be shared by
    all workers, such as a model, in `preload`.
    """

    @classmethod
    def preload(cls) -> Awaitable[None] | None:
        """Runs before the adapter is made, once for all workers where they are forked."""

    def setup(self) -> Awaitable[None] | None:
        """Runs in every worker before its first call."""

    def teardown(self) -> Awaitable[None] | None:
        """Runs in every worker after its last call."""

    def session_ended(self, session_id: str, session: dict[str, Any]) -> Awaitable[None] | None:
        """Runs when a session is over that had calls in this worker, after the last of them.

        It must be quick: calls wait meanwhile. A worker that ends itself runs `teardown` alone.

        Args:
            session_id: The session.
            session: What its tools kept in `context.session`.
        """

    def health(self) -> Awaitable[object] | object:
        """Says that the adapter is well by not raising and not returning `False`.

        Runs every few minutes, where a call would run: never beside a tool in a worker that runs
        one call at a time. A worker that is not well three times in a row is replaced.
        """
