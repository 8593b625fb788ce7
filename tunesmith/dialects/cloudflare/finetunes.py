"""Finetunes: create, list, those of all; retrieve and delete, which the original has not."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from tunesmith.dialects.cloudflare import schemas_finetunes as schemas
from tunesmith.dialects.cloudflare import translate_finetunes as translate
from tunesmith.dialects.cloudflare.auth import InContext, InReadContext
from tunesmith.dialects.cloudflare.models import find_base
from tunesmith.domain.catalog import BaseModel
from tunesmith.services import adapters, models
from tunesmith.services.context import Context
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/accounts/{account_id}/ai/finetunes", tags=["finetunes"])

MAX_OFFSET = 2**31


@router.get("")
def list_finetunes(ctx: InReadContext) -> schemas.Finetunes:
    bases = _bases(ctx)
    result = [translate.state(state, bases) for state in adapters.list_(ctx)]
    return schemas.Finetunes(result=result)


@router.post("", response_model=schemas.Created)
def create_finetune(
    request: Request, body: schemas.CreateFinetune, ctx: InContext
) -> schemas.Created | Response:
    def act() -> schemas.Created:
        base = find_base(ctx, body.model)
        adapter = adapters.create(ctx, translate.new_adapter(body, base))
        return schemas.Created(result=translate.finetune(adapter, {}))

    return once(request, ctx, body.model_dump_json(), act)


# This comes first, so that no finetune can stand in its place.
@router.get("/public")
def list_public_finetunes(
    ctx: InReadContext,
    limit: Annotated[float | None, Query(ge=0, allow_inf_nan=False)] = None,
    offset: Annotated[float, Query(ge=0, le=MAX_OFFSET, allow_inf_nan=False)] = 0,
    order_by: Annotated[str, Query(alias="orderBy")] = "created_at",
) -> schemas.PublicFinetunes:
    """Clients see only what one page has: at most a thousand. `limit` comes as 5.0, too."""
    found = adapters.list_public(
        ctx,
        limit=None if limit is None else int(min(limit, adapters.MAX_PUBLIC_LISTED)),
        offset=int(offset),
        order_by=translate.order(order_by),
    )
    return schemas.PublicFinetunes(result=[translate.finetune(adapter, {}) for adapter in found])


@router.get("/{finetune:path}")
def get_finetune(finetune: str, ctx: InReadContext) -> schemas.OneFinetune:
    """By id or by name."""
    return schemas.OneFinetune(result=translate.state(adapters.get(ctx, finetune), _bases(ctx)))


@router.delete("/{finetune:path}")
def delete_finetune(finetune: str, ctx: InContext) -> schemas.DeletedFinetune:
    adapter_id = adapters.delete(ctx, finetune)
    return schemas.DeletedFinetune(result=schemas.Deleted(id=str(adapter_id)))


def _bases(ctx: Context) -> dict[str, BaseModel]:
    return {base.name: base for base in models.list_bases(ctx)}
