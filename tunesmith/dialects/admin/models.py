"""The base-model catalogue."""

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas, translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.domain.accounts import Scope
from tunesmith.services import models

router = APIRouter(prefix="/base-models")


@router.put("", status_code=204)
def put_base_model(body: schemas.BaseModelEntry, ctx: InContext) -> None:
    models.add_base(ctx, translate.new_base_model(body, ctx.now()))


@router.get("")
def list_base_models(ctx: InContext) -> list[schemas.BaseModelEntry]:
    ctx.require(Scope.ADMIN)
    return [translate.base_model(model) for model in models.list_bases(ctx)]


@router.delete("/{name:path}", status_code=204)
def delete_base_model(name: str, ctx: InContext) -> None:
    models.delete_base(ctx, name)
