"""What the dataset doctor says of a dataset, and a mended version of it."""

from functools import partial
from pathlib import PurePosixPath

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import documentation, schemas, translate, translate_findings
from tunesmith.dialects.platform import schemas_findings as wire
from tunesmith.dialects.platform.auth import as_caller
from tunesmith.dialects.platform.catalogue import base_model
from tunesmith.doctor import mending
from tunesmith.domain.accounts import Scope
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.files import Blob, File
from tunesmith.http import foundation_of
from tunesmith.services import datasets, examinations
from tunesmith.services.context import Context

router = APIRouter(prefix="/datasets/{dataset_id}", tags=["datasets"])

BASE_MODEL = {"type": "string", "description": "A base model's name. Required."}
MAX_LINE = 1_000_000_000
DEFAULT_ROWS, MAX_ROWS = 10, 20
LINE = {
    **{"type": "integer", "minimum": 1, "maximum": MAX_LINE, "default": 1},
    "description": "The first line of the file to look at.",
}
LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_ROWS, "default": DEFAULT_ROWS}
AGAINST = {"type": "string", "description": "A dataset to validate with: finds what it has, too."}


@router.get("/findings", openapi_extra=documentation.query(against=AGAINST))
async def list_findings(request: Request, dataset_id: str) -> wire.Findings:
    """What is wrong with a dataset. An extension; a large one takes a while."""
    against = request.query_params.get("against") or None
    async with as_caller(request, Scope.JOBS_READ, writes=False) as ctx:
        file, other = await run_in_threadpool(_files, ctx, dataset_id, against)
    blobs = foundation_of(request).house.blobs
    report = await to_thread.run_sync(
        examinations.examine, blobs, file.blob, _blob(other), limiter=request.app.state.examining
    )
    return translate_findings.findings(file, other, report)


@router.get("/tokens", openapi_extra=documentation.query(baseModel=BASE_MODEL))
async def count_tokens(request: Request, dataset_id: str) -> wire.Tokens:
    """What a base model would learn from a dataset. An extension; `/estimates` prices it."""
    file, model = await _file_and_model(request, dataset_id)
    counts = await to_thread.run_sync(
        examinations.count_tokens,
        foundation_of(request).house.blobs,
        file.blob,
        model,
        limiter=request.app.state.examining,
    )
    return translate_findings.tokens(file, model.name, counts)


@router.get(
    "/rows", openapi_extra=documentation.query(baseModel=BASE_MODEL, line=LINE, limit=LIMIT)
)
async def list_rows(request: Request, dataset_id: str) -> wire.RowsSeen:
    """Rows as tokens of a base model, with those that carry loss. An extension."""
    asked = request.query_params
    file, model = await _file_and_model(request, dataset_id)
    first = translate.integer(asked, "line", 1, 1, MAX_LINE)
    count = translate.integer(asked, "limit", DEFAULT_ROWS, 1, MAX_ROWS)
    seen = await to_thread.run_sync(
        partial(examinations.rows_seen, first=first, count=count),
        foundation_of(request).house.blobs,
        file.blob,
        model,
        limiter=request.app.state.examining,
    )
    return translate_findings.rows(file, model.name, seen)


@router.post("/fix", status_code=201, openapi_extra=schemas.openapi_body(wire.Fix))
async def fix_dataset(request: Request, dataset_id: str) -> wire.Fixed:
    """Make a new dataset of it, with all that is safe mended. An extension; the old one stays."""
    async with as_caller(request, Scope.JOBS_WRITE, writes=False):
        pass  # the body is judged last
    body, _ = await schemas.read(request, wire.Fix)
    async with as_caller(request, Scope.JOBS_WRITE, writes=False) as ctx:
        file, other = await run_in_threadpool(_files, ctx, dataset_id, body.against)
    foundation = foundation_of(request)
    with foundation.receiving(file.organization_id):
        mended = await to_thread.run_sync(
            examinations.mend,
            foundation.house.blobs,
            file.blob,
            _blob(other),
            mending.header(file.filename, _new_name(file)),
            limiter=request.app.state.examining,
        )
    async with as_caller(request, Scope.JOBS_WRITE, writes=True) as ctx:
        new = await run_in_threadpool(
            datasets.add,
            ctx,
            filename=_new_name(file),
            blob=mended.blob,
            num_examples=mended.num_examples,
            title=(body.name or "").strip() or file.title,
        )
    return translate_findings.fixed(new, mended)


async def _file_and_model(request: Request, dataset_id: str) -> tuple[File, BaseModel]:
    name = request.query_params.get("baseModel") or ""
    async with as_caller(request, Scope.JOBS_READ, writes=False) as ctx:
        file, _ = await run_in_threadpool(_files, ctx, dataset_id, None)
        return file, await run_in_threadpool(base_model, ctx, name)


def _files(ctx: Context, dataset_id: str, against: str | None) -> tuple[File, File | None]:
    file = datasets.get(ctx, translate.inner_id("file", "ds_", dataset_id))
    if against is None:
        return file, None
    return file, datasets.get(ctx, translate.inner_id("file", "ds_", against))


def _blob(file: File | None) -> Blob | None:
    return None if file is None else file.blob


def _new_name(file: File) -> str:
    path = PurePosixPath(file.filename)
    return f"{path.stem[:200]}-mended{path.suffix}"
