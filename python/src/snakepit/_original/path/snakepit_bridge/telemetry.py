"""Telling the host of events, by the original's names.

Owns what an event is; the host makes one of its own tracing events of each, with pool, worker and
call. Telling never waits: what comes faster than it can leave is dropped, and the number of those
is told.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from snakepit._context import context
from snakepit._native import tell

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping
    from contextvars import Token

__all__ = [
    "CORRELATION_HEADER",
    "Backend",
    "correlation_filter",
    "emit",
    "get_backend",
    "get_correlation_id",
    "get_tracer",
    "is_enabled",
    "new_correlation_id",
    "otel_span",
    "outgoing_metadata",
    "reset_correlation_id",
    "set_backend",
    "set_correlation_id",
    "setup_tracing",
    "span",
]

CORRELATION_HEADER = "x-snakepit-correlation-id"

_correlation: ContextVar[str | None] = ContextVar("snakepit_bridge_correlation", default=None)


class Backend(Protocol):
    """Where events go."""

    def emit(
        self,
        event: str,
        measurements: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Takes an event."""


class _Host:
    """The host of this worker; without one, as in tests, events go nowhere."""

    def emit(
        self,
        event: str,
        measurements: dict[str, Any],
        metadata: dict[str, Any] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        details = dict(metadata or {})
        if correlation_id:
            details.setdefault("correlation_id", correlation_id)
        tell(event, measurements, details, context.call_id)


_backend: Backend | None = _Host()


def set_backend(backend: Backend | None) -> None:
    """Has events go elsewhere, or nowhere."""
    global _backend
    _backend = backend


def get_backend() -> Backend | None:
    """Returns where events go."""
    return _backend


def is_enabled() -> bool:
    """Whether events go anywhere."""
    return _backend is not None


def emit(
    event: str,
    measurements: Mapping[str, Any],
    metadata: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
) -> None:
    """Tells of an event.

    Args:
        event: Its name, as `inference.stop`.
        measurements: Numbers by name. What is none is told as text, among the metadata.
        metadata: What else is known, as text.
        correlation_id: What ties it to others; that of the running call by default.
    """
    backend = _backend
    if backend is not None:
        correlation_id = correlation_id or get_correlation_id()
        backend.emit(event, dict(measurements), dict(metadata or {}), correlation_id)


@contextmanager
def span(
    operation: str,
    metadata: Mapping[str, Any] | None = None,
    correlation_id: str | None = None,
) -> Generator[None]:
    """Tells of the begin and the end of what the block does: `….start`, then `….stop`.

    If the block raises, `….exception` takes the place of `….stop`. Both have the `duration` in
    nanoseconds; `….start` has the `system_time`.
    """
    emit(f"{operation}.start", {"system_time": time.time_ns()}, metadata, correlation_id)
    began = time.perf_counter_ns()
    try:
        yield
    except Exception as error:
        said = {"error_type": type(error).__name__, "error_message": str(error)}
        duration = {"duration": time.perf_counter_ns() - began}
        emit(f"{operation}.exception", duration, {**(metadata or {}), **said}, correlation_id)
        raise
    duration = {"duration": time.perf_counter_ns() - began}
    emit(f"{operation}.stop", duration, metadata, correlation_id)


@contextmanager
def otel_span(
    name: str,
    context_metadata: Iterable[tuple[str, str]] | None = None,  # noqa: ARG001
    attributes: Mapping[str, Any] | None = None,
) -> Generator[None]:
    """The same by the name and the arguments of the original's spans of OpenTelemetry."""
    with span(name, attributes):
        yield


def new_correlation_id() -> str:
    """Makes an id."""
    from uuid import uuid4

    return str(uuid4())


def set_correlation_id(correlation_id: str | None) -> Token[str | None]:
    """Sets the id for what follows here; the token is for `reset_correlation_id`."""
    return _correlation.set(correlation_id)


def reset_correlation_id(token: Token[str | None]) -> None:
    """Takes back what `set_correlation_id` did."""
    _correlation.reset(token)


def get_correlation_id() -> str | None:
    """Returns what ties this call to others.

    That is what was set here, else what the caller sent along as `correlation_id`, else the id of
    its trace; `None` outside of a call.
    """
    chosen = _correlation.get()
    if chosen is not None or not context.call_id:
        return chosen
    metadata = context.metadata
    sent = metadata.get("correlation_id") or metadata.get(CORRELATION_HEADER)
    if sent:
        return sent
    trace = (context.traceparent or "").split("-")
    return trace[1] if len(trace) > 1 else None


def outgoing_metadata(
    metadata: Iterable[tuple[str, str]] | None = None,
) -> tuple[tuple[str, str], ...]:
    """Returns headers for a request to elsewhere, with the correlation id among them."""
    others = tuple(each for each in metadata or () if each[0] != CORRELATION_HEADER)
    return (*others, (CORRELATION_HEADER, get_correlation_id() or new_correlation_id()))


def correlation_filter() -> logging.Filter:
    """Returns a filter that puts `correlation_id` into log records."""
    return _CorrelationFilter()


class _CorrelationFilter(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.correlation_id = get_correlation_id() or "-"
        return True


def setup_tracing(*_: Any, **__: Any) -> None:
    """Does nothing: the host traces."""


def get_tracer(*_: Any, **__: Any) -> None:
    """Returns none: the host traces."""
