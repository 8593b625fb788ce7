"""The base-model catalogue, and what training with it takes."""

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas, translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import NotFound
from tunesmith.services import estimates, hardware, known_models, models

router = APIRouter()


@router.put("/base-models", status_code=204)
def put_base_model(body: schemas.BaseModelEntry, ctx: InContext) -> None:
    models.add_base(ctx, translate.new_base_model(body, ctx.now()))


@router.get("/base-models")
def list_base_models(ctx: InContext) -> list[schemas.ListedBaseModel]:
    ctx.require(Scope.OPERATOR)
    return [translate.listed_base_model(model) for model in models.list_bases(ctx)]


@router.delete("/base-models/{name:path}", status_code=204)
def delete_base_model(name: str, ctx: InContext) -> None:
    models.delete_base(ctx, name)


@router.get("/known-models")
def list_known_models(ctx: InContext) -> list[schemas.KnownModel]:
    ctx.require(Scope.OPERATOR)
    bases = models.list_bases(ctx)
    return [translate.known_model(known, bases) for known in known_models.list_known()]


@router.get("/hardware")
def list_hardware(ctx: InContext) -> list[schemas.Hardware]:
    ctx.require(Scope.ADMIN)
    return [translate.hardware(found) for found in hardware.list_hardware(ctx)]


@router.post("/estimates")
def estimate(body: schemas.AskEstimate, ctx: InContext) -> schemas.Estimate:
    ctx.require(Scope.ADMIN)
    model = models.find_base(ctx, body.base_model)
    if model is None:
        raise NotFound("base model", body.base_model, param="base_model")
    made = estimates.estimate(
        ctx,
        model,
        body.num_examples,
        num_epochs=body.num_epochs,
        tokens_per_example=body.tokens_per_example,
    )
    return translate.estimate(model, body.num_examples, made)
