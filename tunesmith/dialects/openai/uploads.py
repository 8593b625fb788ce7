"""Uploads: create, add parts, complete, cancel."""

import asyncio
from uuid import UUID
from weakref import WeakValueDictionary

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import schemas_uploads as schemas
from tunesmith.dialects.openai import translate
from tunesmith.dialects.openai import translate_uploads as wire
from tunesmith.dialects.openai.auth import InContext, Secret, as_caller
from tunesmith.domain.errors import InvalidRequest, NotFound, TooLarge
from tunesmith.domain.uploads import MAX_PART_BYTES
from tunesmith.http import foundation_of
from tunesmith.services import uploads
from tunesmith.services.context import Context
from tunesmith.wire import multipart_form
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/uploads", tags=["uploads"])

PART_BODY = multipart_form.openapi_body(["data"], data={"type": "string", "format": "binary"})

# Held by whoever completes an upload: who asks for the same meanwhile waits, and is told of it.
_completing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()


@router.post("", response_model=schemas.Upload)
def create_upload(
    body: schemas.CreateUpload, request: Request, ctx: InContext
) -> schemas.Upload | Response:
    max_bytes: int = request.app.state.max_multipart_upload_bytes
    if body.bytes > max_bytes:
        raise InvalidRequest(f"An upload has at most {max_bytes:,} bytes.", param="bytes")
    new = wire.new_upload(body)
    said = body.model_dump_json()
    return once(request, ctx, said, lambda: wire.upload(uploads.create(ctx, new)))


@router.post("/{upload_id}/parts", openapi_extra=PART_BODY)
async def create_part(upload_id: str, request: Request) -> schemas.UploadPart:
    wanted, owner = await _pending(request, upload_id)
    foundation = foundation_of(request)
    blobs = foundation.house.blobs
    with foundation.receiving(owner), blobs.writer(MAX_PART_BYTES) as writer:
        try:
            await multipart_form.receive(request, writer, file="data")
        except TooLarge as error:
            raise TooLarge(f"A part has at most {MAX_PART_BYTES:,} bytes.", param="data") from error
        blob = await run_in_threadpool(writer.commit)
    async with as_caller(request, writes=True) as ctx:
        return wire.part(await run_in_threadpool(uploads.add_part, ctx, wanted, blob))


@router.post("/{upload_id}/complete")
async def complete_upload(
    _: Secret, upload_id: str, body: schemas.CompleteUpload, request: Request
) -> schemas.Upload:
    async with _completing.setdefault(upload_id, asyncio.Lock()):
        async with as_caller(request, writes=False) as ctx:
            made = await run_in_threadpool(_begin_completion, ctx, upload_id, body)
        if isinstance(made, uploads.Assembly):
            blobs = foundation_of(request).house.blobs
            blob = await run_in_threadpool(uploads.assemble, blobs, made)
            async with as_caller(request, writes=True) as ctx:
                made = await run_in_threadpool(uploads.complete, ctx, made, blob)
    return wire.upload(made.upload, made.file)


@router.post("/{upload_id}/cancel")
def cancel_upload(upload_id: str, ctx: InContext) -> schemas.Upload:
    return wire.upload(uploads.cancel(ctx, translate.inner_id("upload", upload_id)))


def _begin_completion(
    ctx: Context, upload_id: str, body: schemas.CompleteUpload
) -> uploads.CompletedUpload | uploads.Assembly:
    wanted = translate.inner_id("upload", upload_id)
    return uploads.begin_completion(ctx, wanted, wire.completion(body))


async def _pending(request: Request, upload_id: str) -> tuple[UUID, UUID]:
    """The upload that a body is for, and whose it is, before any of it is kept."""
    try:
        async with as_caller(request, writes=False) as ctx:
            wanted = translate.inner_id("upload", upload_id)
            await run_in_threadpool(uploads.get_pending, ctx, wanted)
    except (InvalidRequest, NotFound):
        await multipart_form.discard(request)
        raise
    return wanted, ctx.owner
