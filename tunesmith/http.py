"""What dialects share: unit of work, status table, validation errors, request ids."""

import asyncio
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tunesmith import metrics
from tunesmith.domain import errors
from tunesmith.domain.accounts import Credential, Key
from tunesmith.domain.assignments import News
from tunesmith.domain.audit import Origin
from tunesmith.services import accounts
from tunesmith.services.context import Context, House
from tunesmith.services.failures import FailureLimit
from tunesmith.services.known_callers import KnownCallers
from tunesmith.services.sightings import Sightings
from tunesmith.store.database import MAX_READERS, Database, Store

log = structlog.get_logger()

MAX_UPLOADS = 32  # of an organization at once
MAX_JSON_BYTES = 32 * 1024 * 1024
_IS_STREAM = "tunesmith.is_stream"
_FOUNDATION = "tunesmith.foundation"
origin_of_request: ContextVar[Origin | None] = ContextVar("origin", default=None)

_STATUS: dict[type[errors.TunesmithError], int] = {
    errors.InvalidRequest: 400,
    errors.KeyReused: 422,
    errors.Unauthenticated: 401,
    errors.PermissionDenied: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.TooLarge: 413,
    errors.QuotaExceeded: 429,
    errors.RateLimited: 429,
    errors.TooManyAtOnce: 429,
    errors.Unavailable: 503,
}

Result = TypeVar("Result")
Render = Callable[[Request, errors.TunesmithError, int], Response]
SecretOf = Callable[[Request], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What every mounted app stands on.

    Transactions wait for their turn on the event loop: were they to wait in threads, for the
    database's lock or for a connection, forty that wait would leave those that run no thread to
    finish in.
    """

    database: Database
    house: House
    callers: KnownCallers = field(default_factory=KnownCallers)
    write_gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    read_gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_READERS))
    sightings: Sightings = field(default_factory=Sightings)
    failures: FailureLimit = field(default_factory=FailureLimit)
    max_uploads: int = MAX_UPLOADS
    uploading: Counter[UUID] = field(default_factory=Counter)
    is_leaving: threading.Event = field(default_factory=threading.Event)  # nothing new is begun
    announce: Callable[[Iterable[News]], None] = lambda news: None  # to workers

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[Store]:
        """One transaction that changes something; committed when the block ends."""
        with metrics.DB_WRITES.time():
            async with self.write_gate, _in_threads(self.database.write) as store:
                yield store
            self.callers.forget()
            self.announce(store.queue.news)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Store]:
        async with self.read_gate:
            if self.database.answers_at_once:
                with self.database.read() as store:
                    yield store
            else:
                async with _in_threads(self.database.read) as store:
                    yield store

    @contextmanager
    def receiving(self, owner: UUID) -> Iterator[None]:
        """While an organization sends a file; raises `TooManyAtOnce`."""
        if self.uploading[owner] >= self.max_uploads:
            raise errors.TooManyAtOnce(
                f"{self.max_uploads} uploads are under way already; wait for one to end."
            )
        self.uploading[owner] += 1
        try:
            yield
        finally:
            self.uploading[owner] -= 1
            if not self.uploading[owner]:
                del self.uploading[owner]

    @asynccontextmanager
    async def as_caller(self, secret: str, *, writes: bool) -> AsyncIterator[Context]:
        """A transaction in the name of the caller that `secret` belongs to."""
        async with self.as_holder_of([Credential(secret=secret)], writes=writes) as ctx:
            yield ctx

    @asynccontextmanager
    async def as_holder_of(
        self, credentials: Sequence[Credential], *, writes: bool
    ) -> AsyncIterator[Context]:
        """A transaction in the name of whoever the first good one of `credentials` belongs to."""
        with self._watched(credentials) as visit:
            async with self.writing() if writes else self.reading() as store:
                if self.database.answers_at_once or self.callers.find(
                    credentials, self.house.now()
                ):
                    ctx = self._let_in(store, visit)
                else:
                    ctx = await run_in_threadpool(self._let_in, store, visit)
                structlog.contextvars.bind_contextvars(organization=ctx.organization.slug)
                yield ctx

    async def read_as(
        self, credentials: Sequence[Credential], use: Callable[[Context], Result]
    ) -> Result:
        """For what clients ask all the time: a few rows, in one go and without changing threads."""

        def read() -> tuple[str, Result]:
            with self.database.read() as store:
                ctx = self._let_in(store, visit)
                return ctx.organization.slug, use(ctx)

        with self._watched(credentials) as visit:
            async with self.read_gate:
                at_once = self.database.answers_at_once
                slug, result = read() if at_once else await run_in_threadpool(read)
            structlog.contextvars.bind_contextvars(organization=slug)
            return result

    def _let_in(self, store: Store, visit: "_Visit") -> Context:
        now = self.house.now()
        caller = self.callers.find(visit.credentials, now)
        if caller is None:
            caller = accounts.authenticate_one_of(store, visit.credentials, now)
            self.callers.add(visit.credentials, caller)
        visit.key = caller[1]
        return Context(
            store=store,
            house=self.house,
            organization=caller[0],
            key=caller[1],
            origin=visit.origin,
        )

    @contextmanager
    def _watched(self, credentials: Sequence[Credential]) -> Iterator["_Visit"]:
        """Take note of who came, and of who was turned away or denied something."""
        visit = _Visit(credentials, origin_of_request.get() or Origin())
        self.failures.admit(visit.origin.ip, credentials)
        try:
            yield visit
        except errors.Unauthenticated as error:
            if visit.key is None:
                self._note_failure(error, visit.origin)
            raise
        except errors.PermissionDenied as error:
            if visit.key is not None:
                owner, now = visit.key.organization_id, self.house.now()
                self.sightings.denied(owner, visit.key.id, error.code, visit.origin, now)
            raise
        finally:
            if visit.key is not None:
                self.failures.forgive(credentials)
                self.sightings.used(visit.key.id, self.house.now())

    def _note_failure(self, error: errors.Unauthenticated, origin: Origin) -> None:
        self.failures.count(origin.ip)
        if error.key_id is not None and error.organization_id is not None:
            now = self.house.now()
            self.sightings.denied(error.organization_id, error.key_id, error.code, origin, now)


@dataclass(slots=True)
class _Visit:
    credentials: Sequence[Credential]
    origin: Origin
    key: Key | None = None  # once it was let in


@asynccontextmanager
async def _in_threads(transaction: Callable[[], Any]) -> AsyncIterator[Store]:
    """A blocking context manager entered and left outside the event loop."""
    manager = transaction()
    entering = asyncio.ensure_future(run_in_threadpool(manager.__enter__))
    try:
        store: Store = await asyncio.shield(entering)
    except asyncio.CancelledError as error:
        # The thread goes on: what it opens must be closed, or nobody could write any more.
        await asyncio.wait({entering})
        if entering.exception() is None:
            await run_in_threadpool(manager.__exit__, type(error), error, error.__traceback__)
        raise
    try:
        yield store
    except BaseException as error:
        await run_in_threadpool(manager.__exit__, type(error), error, error.__traceback__)
        raise
    else:
        await run_in_threadpool(manager.__exit__, None, None, None)


def foundation_of(request: Request) -> Foundation:
    foundation: Foundation = request.scope.get(_FOUNDATION) or request.app.state.foundation
    return foundation


def use_foundation(request: Request, foundation: Foundation) -> None:
    """Give this request another one than its app has."""
    request.scope[_FOUNDATION] = foundation


def context_dependency(
    secret_of: SecretOf, *, writes: bool
) -> Callable[[Request], AsyncIterator[Context]]:
    """For `Depends(..., scope="function")`: committed before the answer leaves.

    FastAPI's default would run the commit after the response, and a failed one would still be 200.
    """

    async def in_context(request: Request) -> AsyncIterator[Context]:
        secret = secret_of(request)
        async with foundation_of(request).as_caller(secret, writes=writes) as ctx:
            yield ctx

    return in_context


def status_of(error: errors.TunesmithError) -> int:
    for kind in type(error).__mro__:
        if kind in _STATUS:
            return _STATUS[kind]
    return 500


def render_errors_with(app: FastAPI, render: Render) -> None:
    """Let a dialect answer every error in its own form; it only ever sees `TunesmithError`s."""

    def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, errors.TunesmithError)
        return render(request, error, status_of(error))

    def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return ours(request, _from_validation(error))

    def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, errors.TunesmithError):  # raised while the body was read
            return ours(request, error.__cause__)
        answer = render(request, _from_framework(request, error), error.status_code)
        answer.headers.update(error.headers or {})  # such as `Allow`
        return answer

    def unexpected(request: Request, error: Exception) -> Response:
        log.exception("request failed")
        hidden = errors.TunesmithError(
            "The server had an error while processing your request; "
            f"its log has more under {request_id_of(request)}.",
            code="server_error",
        )
        return render(request, hidden, 500)

    app.add_exception_handler(errors.TunesmithError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)
    app.add_exception_handler(Exception, unexpected)


def _from_validation(error: RequestValidationError) -> errors.InvalidRequest:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return errors.InvalidRequest(
            "The body is not valid JSON; send a JSON object with Content-Type: application/json."
        )
    place = [str(part) for part in first["loc"] if part not in ("body", "query", "path")]
    message = first["msg"].removeprefix("Value error, ")
    param = ".".join(place) or None
    return errors.InvalidRequest(f"{param or 'The body'}: {message}.", param=param)


def _from_framework(request: Request, error: HTTPException) -> errors.TunesmithError:
    if error.status_code == 404:
        return errors.TunesmithError(
            f"Unknown request URL: {request.method} {request.url.path}.", code="unknown_url"
        )
    if error.status_code == 405:
        return errors.TunesmithError(
            f"Not allowed to {request.method} on {request.url.path}.", code="method_not_allowed"
        )
    return errors.TunesmithError(f"{error.detail}.", code="invalid_request")


def mount(app: FastAPI, prefix: str, mounted: FastAPI) -> None:
    """All paths below the prefix: also those with a line break, which Starlette passes over."""
    route = Mount(prefix, app=mounted)
    route.path_regex = re.compile(route.path_regex.pattern, re.DOTALL)
    app.router.routes.append(route)


def request_id_of(request: Request) -> str:
    return str(request.scope.get("tunesmith.request_id", "req_unknown"))


class JsonLimit:
    """Pure ASGI: refuses bodies that nobody would send in good faith, and that fill the memory.

    It does not bound what is read by `body_stream`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_JSON_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received = 0

        async def bounded() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes and _IS_STREAM not in scope:
                raise errors.TooLarge(f"The body is larger than {self._max_bytes:,} bytes.")
            return message

        await self._app(scope, bounded, send)


def body_stream(request: Request) -> AsyncIterator[bytes]:
    """A body of any length, for endpoints that keep none of it in memory."""
    request.scope[_IS_STREAM] = True
    return request.stream()
