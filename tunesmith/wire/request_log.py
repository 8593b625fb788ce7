"""Every request has an id, a line in the log and a place in the metrics."""

import logging
import re
import time
from functools import lru_cache
from typing import Any
from uuid import uuid4

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith import metrics
from tunesmith.domain.audit import Origin
from tunesmith.http import origin_of_request
from tunesmith.tracing import spans

log = structlog.get_logger()

_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
# What a path says that was refused so need not be an id: a key, pasted into the wrong place.
_MAY_NAME_ANYTHING = frozenset({400, 401, 403, 404, 405, 422, 429})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class RequestIds:
    """Pure ASGI: gives each request an id, says it in every answer, in the log and to Prometheus.

    An id that the caller or a proxy sends is kept, so that their logs and ours speak of the same.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        parent = _traceparent(scope)
        if not spans.is_on():
            await self._answer(scope, receive, send, spans.NoSpan(parent))
            return
        with spans.span("request", parent, is_request=True) as span:
            await self._answer(scope, receive, send, span)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, span: spans.Span) -> None:
        request_id = _request_id(scope)
        scope["tunesmith.request_id"] = request_id
        client = scope.get("client")
        origin_of_request.set(
            Origin(
                ip=client[0] if client else None,
                request_id=request_id,
                asked=f"{scope['method']} {scope['path']}",
                traceparent=span.traceparent,
            )
        )
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=request_id)
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                seconds = time.perf_counter() - started
                headers = [*message.get("headers", []), (b"x-request-id", request_id.encode())]
                message = {**message, "headers": headers}
                _tell(scope, message["status"], seconds, span)
            await send(message)

        await self._app(scope, receive, send_with_id)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _SAFE_ID.fullmatch(value):
            return str(value.decode())
    return f"req_{uuid4().hex}"


def _traceparent(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == b"traceparent":
            return spans.valid(value.decode("latin-1"))
    return None


def _tell(scope: Scope, status: int, seconds: float, span: spans.Span) -> None:
    """Routes by their templates: what callers write into a path is nobody's business."""
    route = scope.get("route")
    template = "unknown" if route is None else f"{scope.get('root_path', '')}{route.path}"
    method = scope["method"] if scope["method"] in _METHODS else "other"
    _histogram(template, method, status).observe(seconds)
    if spans.is_on():
        _describe(span, method, template, status)
    if not log.is_enabled_for(logging.INFO):
        return
    place = {
        word: value
        for word, param in (("job", "job_id"), ("attempt", "attempt"))
        if status not in _MAY_NAME_ANYTHING
        and (value := scope.get("path_params", {}).get(param)) is not None
        and _SAFE_ID.fullmatch(str(value).encode())
    }
    ms = round(seconds * 1000, 1)
    log.info("request", method=method, route=template, status=status, ms=ms, **place)


def _describe(span: spans.Span, method: str, route: str, status: int) -> None:
    span.name(f"{method} {route}")
    span.add(http__request__method=method, http__route=route, http__response__status_code=status)


@lru_cache(maxsize=4096)
def _histogram(route: str, method: str, status: int) -> Any:
    """Looking one up by its labels costs more than counting in it."""
    return metrics.REQUESTS.labels(route, method, str(status))
