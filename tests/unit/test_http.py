import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import uuid4

import httpx
import pytest
from fastapi import Depends, FastAPI, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from tests.factories import key, organization
from tunesmith.domain import errors
from tunesmith.http import (
    Foundation,
    JsonLimit,
    body_stream,
    context_dependency,
    render_errors_with,
    status_of,
)
from tunesmith.services.context import Context, House
from tunesmith.store.database import Database
from tunesmith.wire.request_log import RequestIds

SECRET = "ts_" + "s" * 40
MAX_BYTES = 1000


class Body(BaseModel):
    name: str = Field(max_length=5)
    sizes: list[int] = []


def render(request: Request, error: errors.TunesmithError, status: int) -> Response:
    body = {"kind": type(error).__name__, "message": error.message, "param": error.param}
    return JSONResponse({**body, "code": error.code}, status_code=status)


def secret_of(request: Request) -> str:
    return request.headers["authorization"]


InContext = Annotated[
    Context, Depends(context_dependency(secret_of, writes=True), scope="function")
]
InReadContext = Annotated[
    Context, Depends(context_dependency(secret_of, writes=False), scope="function")
]


def dialect(foundation: Foundation) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.state.foundation = foundation
    render_errors_with(app, render)

    @app.post("/organizations")
    def add(body: Body, ctx: InContext) -> dict[str, str]:
        made = organization(f"{body.name}-{uuid4().hex}")
        ctx.store.accounts.add_organization(made)
        return {"slug": made.slug}

    @app.post("/organizations/twice")
    def add_and_fail(ctx: InContext) -> None:
        ctx.store.accounts.add_organization(organization("first"))
        raise errors.Conflict("There is one already.")

    @app.get("/organizations/{slug}")
    def has(slug: str, ctx: InReadContext) -> dict[str, bool]:
        return {"is_there": ctx.store.accounts.find_organization(slug) is not None}

    @app.get("/defect")
    def defect() -> None:
        raise RuntimeError("the password is swordfish")

    @app.put("/stream")
    async def stream(request: Request) -> dict[str, int]:
        return {"size": sum([len(chunk) async for chunk in body_stream(request)])}

    return app


@pytest.fixture
def foundation(database: Database, house: House) -> Foundation:
    owner = organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.accounts.add_key(key(owner, SECRET))
    return Foundation(database=database, house=house)


@pytest.fixture
def app(foundation: Foundation) -> FastAPI:
    """A dialect under a prefix, as the real application has it."""
    app = FastAPI(openapi_url=None)
    app.mount("/v1", dialect(foundation))
    app.add_middleware(JsonLimit, max_bytes=MAX_BYTES)
    app.add_middleware(RequestIds)
    return app


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(app: FastAPI) -> Ask:
    def ask(method: str, path: str, **parts: Any) -> httpx.Response:
        async def in_loop() -> httpx.Response:
            async with client(app) as http:
                return await http.request(method, path, **parts)

        return asyncio.run(in_loop())

    return ask


def client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    headers = {"authorization": SECRET}
    return httpx.AsyncClient(transport=transport, base_url="http://here", headers=headers)


def test_what_was_written_is_there_once_the_answer_is(ask: Ask) -> None:
    slug = ask("POST", "/v1/organizations", json={"name": "new"}).json()["slug"]
    assert ask("GET", f"/v1/organizations/{slug}").json() == {"is_there": True}


def test_a_commit_that_fails_is_no_success(
    foundation: Foundation, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = foundation.database.write

    @contextmanager
    def failing() -> Iterator[Any]:
        with write() as store:
            yield store
            raise OSError("the disk is full")

    monkeypatch.setattr(foundation.database, "write", failing)
    answer = ask("POST", "/v1/organizations", json={"name": "new"})
    assert answer.status_code == 500
    monkeypatch.undo()
    assert ask("POST", "/v1/organizations", json={"name": "new"}).status_code == 200


@pytest.mark.parametrize("method", ["POST", "GET"])
def test_many_requests_at_once_all_end(app: FastAPI, method: str) -> None:
    """More than there are threads or database connections to wait in."""
    path = "/v1/organizations" + ("" if method == "POST" else "/acme")

    async def all_at_once() -> list[int]:
        async with client(app) as http:
            body = {"json": {"name": "new"}} if method == "POST" else {}
            requests = [http.request(method, path, **body) for _ in range(60)]
            answers = await asyncio.wait_for(asyncio.gather(*requests), timeout=30)
        return [answer.status_code for answer in answers]

    assert asyncio.run(all_at_once()) == [200] * 60


def test_a_request_that_is_cancelled_while_it_waits_does_not_stop_the_others(
    foundation: Foundation,
) -> None:
    async def write() -> None:
        async with foundation.writing():
            await asyncio.sleep(0.2)  # PostgreSQL lets it in beside the other one

    async def scene() -> None:
        with foundation.database.write():
            waiting = asyncio.create_task(write())
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.sleep(0.05)
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.wait_for(write(), timeout=10)

    asyncio.run(scene())


def test_an_error_undoes_what_the_request_wrote(ask: Ask) -> None:
    answer = ask("POST", "/v1/organizations/twice", json={"name": "new"})
    assert answer.status_code == 409
    assert ask("GET", "/v1/organizations/first").json() == {"is_there": False}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"name": "toolong"}, "name"),
        ({}, "name"),
        ({"name": "a", "sizes": [1, "x"]}, "sizes.1"),
        (5, None),
    ],
)
def test_a_body_that_does_not_fit_is_an_invalid_request_that_names_the_field(
    ask: Ask, body: Any, param: str | None
) -> None:
    answer = ask("POST", "/v1/organizations", json=body)
    assert answer.status_code == 400
    assert answer.json()["kind"] == "InvalidRequest"
    assert answer.json()["param"] == param
    assert answer.json()["message"].endswith(".")


def test_a_body_that_is_no_json_is_an_invalid_request(ask: Ask) -> None:
    headers = {"content-type": "application/json"}
    answer = ask("POST", "/v1/organizations", content=b"{", headers=headers)
    assert (answer.status_code, answer.json()["param"]) == (400, None)
    assert "not valid JSON" in answer.json()["message"]


def test_a_defect_is_an_error_that_tells_no_internals(ask: Ask) -> None:
    answer = ask("GET", "/v1/defect")
    assert answer.status_code == 500
    assert "swordfish" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/organizations/acme", 200),
        ("GET", "/v1/nowhere", 404),
        ("GET", "/v1/organizations", 405),
        ("GET", "/v1/defect", 500),
        ("GET", "/nowhere", 404),
    ],
)
def test_every_answer_has_a_request_id_of_its_own(
    ask: Ask, method: str, path: str, status: int
) -> None:
    first, second = ask(method, path), ask(method, path)
    assert first.status_code == second.status_code == status
    assert first.headers["x-request-id"].startswith("req_")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [("GET", "/v1/nowhere", "unknown_url"), ("GET", "/v1/organizations", "method_not_allowed")],
)
def test_the_frameworks_own_errors_are_rendered_like_ours(
    ask: Ask, method: str, path: str, code: str
) -> None:
    assert ask(method, path).json()["code"] == code


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", None])
def test_a_body_over_the_limit_is_too_large(ask: Ask, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    content = b'{"name": "' + b"x" * MAX_BYTES + b'"}'
    answer = ask("POST", "/v1/organizations", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_body_within_the_limit_is_read(ask: Ask) -> None:
    content = b'{"name": "a"}'.ljust(MAX_BYTES)
    headers = {"content-type": "application/json"}
    assert ask("POST", "/v1/organizations", content=content, headers=headers).status_code == 200


def test_a_stream_of_bytes_may_be_longer(ask: Ask) -> None:
    headers = {"content-type": "application/octet-stream"}
    answer = ask("PUT", "/v1/stream", content=b"x" * MAX_BYTES * 3, headers=headers)
    assert answer.json() == {"size": MAX_BYTES * 3}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidRequest("a"), 400),
        (errors.InvalidTrainingData("a"), 400),
        (errors.KeyReused("a"), 422),
        (errors.Unauthenticated("a"), 401),
        (errors.PermissionDenied("a"), 403),
        (errors.NotFound("file", "a"), 404),
        (errors.Conflict("a"), 409),
        (errors.WrongState("a", "b"), 409),
        (errors.StaleAttempt("a"), 409),
        (errors.TooLarge("a"), 413),
        (errors.QuotaExceeded("a"), 429),
        (errors.RateLimited("tokens", 1, retry_after_seconds=1), 429),
        (errors.Unavailable("a"), 503),
        (errors.TunesmithError("a"), 500),
    ],
)
def test_each_error_has_its_status(error: errors.TunesmithError, status: int) -> None:
    assert status_of(error) == status


@pytest.mark.parametrize("content_type", ["application/octet-stream", "multipart/form-data"])
def test_calling_a_body_a_stream_does_not_lift_the_limit(ask: Ask, content_type: str) -> None:
    headers = {"content-type": content_type}
    content = b'{"name": "' + b"x" * MAX_BYTES + b'"}'
    answer = ask("POST", "/v1/organizations", content=content, headers=headers)
    assert answer.status_code == 413
