"""The files of a finetune: upload; list and download, which the original has not."""

from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.cloudflare import schemas_finetunes as schemas
from tunesmith.dialects.cloudflare import translate_finetunes as translate
from tunesmith.dialects.cloudflare.auth import InReadContext, as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.adapters import FILE_NAMES
from tunesmith.domain.errors import TooLarge, TunesmithError
from tunesmith.domain.files import Blob, FilePurpose
from tunesmith.http import foundation_of
from tunesmith.services import adapter_files, adapters, files
from tunesmith.services.context import Context, House
from tunesmith.store.blobs import BlobWriter
from tunesmith.wire import multipart_form, stored_bytes

router = APIRouter(
    prefix="/accounts/{account_id}/ai/finetunes/{finetune:path}/finetune-assets",
    tags=["finetunes"],
)

MAX_FORM_BYTES = 256 * 1024  # of a body, beside its file

ASSET_BODY = multipart_form.openapi_body(
    ["file", "file_name"],
    file={"type": "string", "format": "binary"},
    file_name={
        "type": "string",
        "description": f"`{'`, `'.join(FILE_NAMES)}`, or a name that ends in "
        f"`{translate.TRAINING_SUFFIX}`: data to train on, instead of the two.",
    },
    hyperparameters=schemas.Hyperparameters.model_json_schema(),
)


FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}
}


@router.post("", openapi_extra=ASSET_BODY)
async def create_asset(finetune: str, request: Request) -> schemas.CreatedAsset:
    """One file of the two of an adapter, which answers with the second; or data to train on."""
    foundation = foundation_of(request)
    house = foundation.house
    max_bytes = house.adapter_limits.max_file_bytes
    owner = await _before_the_body(request, finetune, max_bytes)
    with foundation.receiving(owner), house.blobs.writer(max_bytes) as writer:
        form = await multipart_form.receive(
            request, writer, file="file", fields=("file_name", "hyperparameters")
        )
        name = translate.asset_name(form.fields, form.filename)
        blob = await run_in_threadpool(_checked, house, name, writer)
    async with as_caller(request, writes=True) as ctx:
        result = await run_in_threadpool(_record, ctx, finetune, name, blob, form.fields)
    return schemas.CreatedAsset(result=result)


@router.get("")
def list_assets(finetune: str, ctx: InReadContext) -> schemas.Assets:
    state = adapters.get(ctx, finetune)
    result = [translate.asset_state(state.adapter.id, file) for file in state.files]
    return schemas.Assets(result=result)


@router.get("/{file_name}", response_class=FileResponse, responses=FILE)
def get_asset(finetune: str, file_name: str, ctx: InReadContext) -> FileResponse:
    file, path = adapters.file_of(ctx, finetune, file_name)
    return stored_bytes.answer(path, file.blob, file.name, file.created_at)


async def _before_the_body(request: Request, finetune: str, max_bytes: int) -> UUID:
    """Whatever can be said without the body; who sends it all the same is heard out.

    Returns whose adapter it is.
    """
    try:
        async with as_caller(request, writes=False) as ctx:
            ctx.require(Scope.JOBS_WRITE)
            await run_in_threadpool(adapters.get, ctx, finetune)
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > max_bytes + MAX_FORM_BYTES:
            raise TooLarge(f"A file has at most {max_bytes:,} bytes.")
    except TunesmithError:
        if "100-continue" not in request.headers.get("expect", "").lower():
            await multipart_form.discard(request)
        raise
    return ctx.owner


def _checked(house: House, name: str, writer: BlobWriter) -> Blob:
    if not translate.is_training_data(name):
        adapter_files.check(writer.peek(), name, house.adapter_limits)
        return writer.commit()
    blob = writer.commit()
    files.check(house.blobs, FilePurpose.TRAINING, blob)
    return blob


def _record(
    ctx: Context, finetune: str, name: str, blob: Blob, fields: dict[str, str]
) -> schemas.Asset:
    if translate.is_training_data(name):
        adapter = adapters.train(
            ctx,
            finetune,
            filename=name,
            blob=blob,
            hyperparameters=translate.hyperparameters(fields),
        )
        return translate.asset(adapter.id, name, adapter.modified_at)
    adapter_id, file = adapters.add_file(ctx, finetune, name, blob)
    return translate.asset(adapter_id, file.name, file.created_at)
