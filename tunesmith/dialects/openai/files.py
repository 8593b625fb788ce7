"""Files: upload, list, retrieve, delete, content."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import content, schemas, translate
from tunesmith.dialects.openai.auth import InContext, InReadContext, as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import FilePurpose
from tunesmith.http import foundation_of
from tunesmith.services import files
from tunesmith.wire import multipart_form
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/files", tags=["files"])

FILE_BODY = multipart_form.openapi_body(
    ["file", "purpose"],
    file={"type": "string", "format": "binary"},
    purpose={"type": "string", "enum": list(translate.UPLOAD_PURPOSES)},
    expires_after=schemas.ExpiresAfter.model_json_schema(),
)


@router.post("", openapi_extra=FILE_BODY, response_model=schemas.File)
async def create_file(request: Request) -> schemas.File | Response:
    async with as_caller(request, writes=False) as ctx:
        ctx.require(Scope.FILES_WRITE)
    max_bytes: int = request.app.state.max_upload_bytes
    foundation = foundation_of(request)
    blobs = foundation.house.blobs
    with foundation.receiving(ctx.owner), blobs.writer(max_bytes) as writer:
        form = await multipart_form.receive(
            request, writer, file="file", fields=("purpose", *translate.EXPIRY_FIELDS)
        )
        purpose = _purpose(form)
        lifetime = translate.lifetime(purpose, translate.expires_after(form.fields))
        blob = await run_in_threadpool(writer.commit)
    await run_in_threadpool(files.check, blobs, purpose, blob)
    async with as_caller(request, writes=True) as ctx:

        def act() -> schemas.File:
            file = files.add(
                ctx, filename=form.filename, purpose=purpose, blob=blob, lifetime=lifetime
            )
            return translate.file(file)

        said = repr((form.filename, purpose, blob, lifetime))
        return await run_in_threadpool(once, request, ctx, said, act)


@router.get("")
def list_files(
    ctx: InReadContext,
    after: str | None = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
    order: Literal["asc", "desc"] = "desc",
    purpose: str | None = None,
) -> schemas.FileList:
    page = translate.page_request("file", limit, after, ascending=order == "asc")
    return translate.files(files.list_(ctx, page, _wanted(purpose)))


@router.get("/{file_id}")
def retrieve_file(file_id: str, ctx: InReadContext) -> schemas.File:
    return translate.file(files.get(ctx, translate.inner_id("file", file_id)))


@router.delete("/{file_id}")
def delete_file(file_id: str, ctx: InContext) -> schemas.Deleted:
    files.delete(ctx, translate.inner_id("file", file_id))
    return schemas.Deleted(id=file_id, object="file")


@router.head("/{file_id}/content", include_in_schema=False)
@router.get("/{file_id}/content", response_class=Response)
def retrieve_content(file_id: str, request: Request, ctx: InReadContext) -> Response:
    file, path = files.content(ctx, translate.inner_id("file", file_id))
    if file.purpose is FilePurpose.RESULTS and request.app.state.results_as_base64:
        return content.of_file_as_base64(request, file, path)
    return content.of_file(request, file, path)


def _purpose(form: multipart_form.Form) -> FilePurpose:
    if "purpose" not in form.fields:
        raise InvalidRequest("The part `purpose` is missing.", param="purpose")
    return translate.upload_purpose(form.fields["purpose"])


def _wanted(purpose: str | None) -> FilePurpose | None:
    if not purpose:
        return None
    wanted = translate.purpose(purpose)
    if wanted is None:
        raise InvalidRequest(f"{purpose!r} is not a purpose of files.", param="purpose")
    return wanted
