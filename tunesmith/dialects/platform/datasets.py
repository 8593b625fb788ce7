"""Datasets: upload, list, retrieve, delete."""

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import documentation, schemas, translate
from tunesmith.dialects.platform.auth import ToRead, ToWrite, as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest
from tunesmith.http import foundation_of
from tunesmith.services import datasets
from tunesmith.wire import multipart_form
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/datasets", tags=["datasets"])

FILE_BODY = multipart_form.openapi_body(
    ["file"], file={"type": "string", "format": "binary"}, name={"type": "string"}
)


@router.post("", status_code=201, openapi_extra=FILE_BODY, response_model=schemas.Dataset)
async def create_dataset(request: Request) -> schemas.Dataset | Response:
    async with as_caller(request, Scope.JOBS_WRITE, writes=False) as ctx:
        pass  # before anything is received
    foundation = foundation_of(request)
    blobs = foundation.house.blobs
    with (
        foundation.receiving(ctx.owner),
        blobs.writer(request.app.state.max_upload_bytes) as writer,
    ):
        form = await multipart_form.receive(request, writer, file="file", fields=("name",))
        title = _title(form)
        blob = await run_in_threadpool(writer.commit)
    num_examples = await run_in_threadpool(datasets.check_upload, blobs, blob)
    async with as_caller(request, Scope.JOBS_WRITE, writes=True) as ctx:

        def act() -> schemas.Dataset:
            file = datasets.add(
                ctx, filename=form.filename, blob=blob, num_examples=num_examples, title=title
            )
            return translate.dataset(file)

        said = repr((form.filename, blob, title))
        return await run_in_threadpool(once, request, ctx, said, act, 201)


@router.get("", openapi_extra=documentation.query(**translate.PAGE))
def list_datasets(request: Request, ctx: ToRead) -> schemas.DatasetList:
    limit, offset = translate.page(request.query_params)
    found = datasets.list_(ctx, offset=offset, limit=limit)
    items = [translate.dataset(file) for file in found.items]
    return schemas.DatasetList(count=found.count, limit=limit, offset=offset, datasets=items)


@router.get("/{dataset_id}")
def retrieve_dataset(dataset_id: str, ctx: ToRead) -> schemas.Dataset:
    return translate.dataset(datasets.get(ctx, translate.inner_id("file", "ds_", dataset_id)))


@router.delete("/{dataset_id}", status_code=204, response_class=Response)
def delete_dataset(dataset_id: str, ctx: ToWrite) -> Response:
    datasets.delete(ctx, translate.inner_id("file", "ds_", dataset_id))
    return Response(status_code=204)


def _title(form: multipart_form.Form) -> str | None:
    title = form.fields.get("name", "").strip()
    if len(title) > schemas.MAX_NAME_LENGTH or "\0" in title:
        raise InvalidRequest(
            f"name: at most {schemas.MAX_NAME_LENGTH} characters, and no NUL.", param="name"
        )
    return title or None
