"""The worker protocol over HTTP: register, lease, report, fetch, publish; tokens by WebSocket.

Jobs' files travel as blobs, named by their SHA-256. Whoever has a worker's key may read them all.
"""

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, FastAPI, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from pydantic import TypeAdapter
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import (
    Answered,
    Asked,
    Assignment,
    News,
    NoMoreRequests,
    Receipt,
    Registration,
    ReportBatch,
    SampleOutput,
    SamplePart,
)
from tunesmith.domain.errors import (
    DiskFull,
    InvalidRequest,
    NotFound,
    TunesmithError,
    Unauthenticated,
)
from tunesmith.domain.jobs import Task
from tunesmith.fleet import housekeeping
from tunesmith.fleet.hub import Connection, Hub
from tunesmith.http import (
    Foundation,
    body_stream,
    context_dependency,
    foundation_of,
    render_errors_with,
)
from tunesmith.services import leases, scheduling
from tunesmith.services.context import Context

log = structlog.get_logger()

PREFIX = "/fleet/v1"
_OUTGOING: TypeAdapter[Asked] = TypeAdapter(Asked)
_ANSWERED: TypeAdapter[list[Answered]] = TypeAdapter(list[Answered])

router = APIRouter()


def build(foundation: Foundation, hub: Hub) -> FastAPI:
    app = FastAPI(title="Tunesmith worker protocol", openapi_url=None)
    app.state.foundation = foundation
    app.state.hub = hub
    render_errors_with(app, _render)
    app.include_router(router)
    return app


def _render(request: Request, error: TunesmithError, status: int) -> Response:
    body = {"code": error.code, "message": error.message}
    return JSONResponse(body, status_code=status)


def _secret_of(request: Request | WebSocket) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("Send a worker's key as `Authorization: Bearer <key>`.")
    return secret


_writing = context_dependency(_secret_of, writes=True)
_reading = context_dependency(_secret_of, writes=False)


def _worker(ctx: Annotated[Context, Depends(_writing, scope="function")]) -> Context:
    ctx.require(Scope.WORKER)
    return ctx


def _reading_worker(ctx: Annotated[Context, Depends(_reading, scope="function")]) -> Context:
    ctx.require(Scope.WORKER)
    return ctx


InWorker = Annotated[Context, Depends(_worker, scope="function")]
InReadingWorker = Annotated[Context, Depends(_reading_worker, scope="function")]


@router.post("/register", status_code=204)
def register(registration: Registration, ctx: InWorker) -> None:
    scheduling.register(ctx.store, registration, ctx.now())


@router.post("/lease")
def lease(
    registration: Registration,
    task: Annotated[list[Task], Query()],
    ctx: InWorker,
    request: Request,
) -> Assignment | None:
    if foundation_of(request).is_leaving.is_set():
        return None
    return scheduling.lease(ctx.store, registration, ctx.now(), task)


@router.post("/jobs/{job_id}/attempts/{attempt}/reports")
def report(job_id: UUID, attempt: int, batch: ReportBatch, ctx: InWorker) -> Receipt:
    return leases.record(ctx.store, ctx.house.blobs, job_id, attempt, batch, ctx.now())


@router.get("/blobs/{sha256}")
def fetch(sha256: str, ctx: InReadingWorker) -> FileResponse:
    return FileResponse(ctx.house.blobs.path(sha256), media_type="application/octet-stream")


@router.put("/blobs/{sha256}", status_code=204)
async def publish(sha256: str, request: Request) -> None:
    """Store bytes; they are kept only if they are what the name says."""
    foundation = foundation_of(request)
    async with foundation.as_caller(_secret_of(request), writes=False) as ctx:
        ctx.require(Scope.WORKER)
    chunks = body_stream(request)
    blobs = foundation.house.blobs
    if await run_in_threadpool(blobs.keep, sha256):
        async for _ in chunks:  # an answer in the midst of a body breaks the connection
            pass
        return
    try:
        # What a running job has done may take of the room that uploads have to leave.
        with blobs.writer(min_free_bytes=blobs.min_free_bytes // 2) as writer:
            async for chunk in chunks:
                await run_in_threadpool(writer.write, chunk)
            if writer.sha256 != sha256:
                found = f"The bytes are {writer.sha256}, not {sha256}; send them again."
                raise InvalidRequest(found)
            await run_in_threadpool(writer.commit)
    except DiskFull:
        await housekeeping.sweep(foundation, housekeeping.SWEEP_AGE_WHEN_SHORT_SECONDS)
        async for _ in chunks:
            pass
        raise


@router.get("/base-models/{file}")
def fetch_weights(name: str, file: str, ctx: InReadingWorker) -> FileResponse:
    """A file of a base model, for workers that do not see the server's folders."""
    model = ctx.store.models.find_base(name)
    if model is None or file not in {weights.name for weights in model.files}:
        raise NotFound("file", f"{name}/{file}")
    return FileResponse(Path(model.folder) / file, media_type="application/octet-stream")


@router.websocket("/tokens")
async def tokens(socket: WebSocket, worker: str) -> None:
    """Requests for answers go out, their tokens come in, until either side leaves."""
    try:
        async with socket.app.state.foundation.as_caller(_secret_of(socket), writes=False) as ctx:
            ctx.require(Scope.WORKER)
    except TunesmithError as error:
        await socket.close(code=4401, reason=error.message[:120])
        return
    await socket.accept()
    hub: Hub = socket.app.state.hub
    connection = hub.connect(worker)
    sender = asyncio.create_task(_send_requests(socket, connection))
    try:
        while True:
            for answered in _ANSWERED.validate_json(await socket.receive_text()):
                if isinstance(answered, NoMoreRequests):
                    hub.dismiss(connection)
                else:
                    connection.deliver(answered)
    except WebSocketDisconnect:
        pass
    finally:
        sender.cancel()
        hub.disconnect(connection)


async def _send_requests(socket: WebSocket, connection: Connection) -> None:
    while True:
        message = await connection.outgoing.get()
        try:
            text = _OUTGOING.dump_json(message).decode()
        except ValueError as error:  # such as half a character, which JSON can escape
            assert not isinstance(message, NoMoreRequests | News)
            connection.deliver(_refused(message.request_id, error))
            continue
        await socket.send_text(text)


def _refused(request_id: str, error: ValueError) -> SampleOutput:
    log.warning("request cannot be sent", request=request_id, reason=str(error))
    return SampleOutput(
        request_id=request_id,
        part=SamplePart.FAILED,
        code="bad_conversation",
        message="The request has text that is not Unicode.",
    )
