"""Spans of a trace, where an operator wants them; nothing at all where they do not.

A place in a trace is a W3C `traceparent`, a text that goes from process to process: with a request,
on a job's row, with an assignment. It is kept and passed on whether or not anything is exported.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

Value = str | int | float | bool

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


class Span(Protocol):
    """What goes on between a beginning and an end."""

    @property
    def traceparent(self) -> str | None: ...

    def name(self, name: str) -> None: ...

    def add(self, **attributes: Value) -> None: ...

    def end(self, at: datetime | None = None) -> None: ...


class Exporter(Protocol):
    def begin(
        self, name: str, parent: str | None, at: datetime | None, *, is_request: bool
    ) -> Span: ...

    def close(self) -> None: ...


class MissingLibrary(Exception):
    """The operator wants spans exported, and has not installed what exports them."""


class NoSpan:
    """Where nothing is exported: its place is its parent's."""

    def __init__(self, parent: str | None) -> None:
        self.traceparent = parent

    def name(self, name: str) -> None:
        pass

    def add(self, **attributes: Value) -> None:
        pass

    def end(self, at: datetime | None = None) -> None:
        pass


_exporter: Exporter | None = None  # of this process


def start(endpoint: str, service: str) -> None:
    """Export this process's spans by OTLP over HTTP, in the name of `service`."""
    global _exporter
    if find_spec("opentelemetry.exporter") is None:
        raise MissingLibrary("Spans need a library: run `pip install 'tunesmith[otel]'`.")
    otlp = import_module("tunesmith.tracing.otlp")
    _exporter = cast(Exporter, otlp.Otlp(endpoint, service))


def stop() -> None:
    """Send what has not been sent."""
    global _exporter
    if _exporter is not None:
        _exporter.close()
    _exporter = None


def is_on() -> bool:
    return _exporter is not None


def valid(traceparent: str | None) -> str | None:
    """What a caller sent, if it is a place in a trace."""
    return traceparent if traceparent and _TRACEPARENT.fullmatch(traceparent) else None


@contextmanager
def span(name: str, parent: str | None, *, is_request: bool = False) -> Iterator[Span]:
    """Without a parent it begins a trace."""
    begun: Span = NoSpan(parent)
    if _exporter is not None:
        begun = _exporter.begin(name, parent, None, is_request=is_request)
    try:
        yield begun
    finally:
        begun.end()


def record(
    name: str, parent: str | None, began_at: datetime, ended_at: datetime, **attributes: Value
) -> None:
    """A span that is over, by the clock that times are stored by."""
    if _exporter is not None:
        past = _exporter.begin(name, parent, began_at, is_request=False)
        past.add(**attributes)
        past.end(ended_at)
