"""Catalogue: what can be tuned, what it is tuned on, and what that would take."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import schemas
from tunesmith.dialects.platform.auth import ToRead, as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest
from tunesmith.services import estimates, hardware, models
from tunesmith.services.context import Context

router = APIRouter(prefix="/fine-tuning", tags=["catalogue"])

CPU = schemas.Hardware(id="cpu", name="CPU", gpuMemory="0GB", gpuCount=0, costPerHour=0.0)


def base_model(ctx: Context, name: str) -> BaseModel:
    """One of those that can be tuned, by what a request calls it."""
    model = models.find_base(ctx, name)
    if model is None:
        raise InvalidRequest(
            f"The model {name[:200]!r} is not available for fine-tuning.",
            param="baseModel",
            code="model_not_available",
        )
    return model


@router.get("/base-models")
def list_base_models(ctx: ToRead) -> schemas.BaseModelList:
    """What the operator has put into the catalogue, weights and all."""
    return schemas.BaseModelList(
        models=[
            schemas.BaseModelEntry(
                id=model.name,
                name=model.title,
                provider=model.provider or "unknown",
                parameterCount=model.size,
                supportedTasks=list(model.tasks),
                maxSequenceLength=model.context_tokens,
            )
            for model in models.list_bases(ctx)
        ]
    )


@router.get("/hardware")
def list_hardware(ctx: ToRead) -> schemas.HardwareList:
    """That of the workers that are there; a CPU where none is."""
    found = [
        schemas.Hardware(
            id=entry.id,
            name=entry.device.name,
            gpuMemory=entry.gpu_memory,
            gpuCount=entry.num_gpus,
            costPerHour=entry.cost_per_hour,
        )
        for entry in hardware.list_hardware(ctx)
    ]
    return schemas.HardwareList(hardware=found or [CPU])


@router.post("/estimate-cost", openapi_extra=schemas.openapi_body(schemas.AskEstimate))
async def estimate_cost(request: Request) -> schemas.Estimate:
    """Of a job with three epochs, on the default device. Fields not listed are passed over."""
    async with as_caller(request, Scope.JOBS_READ, writes=False):
        pass  # the body is judged last
    body, _ = await schemas.read(request, schemas.AskEstimate)
    async with as_caller(request, Scope.JOBS_READ, writes=False) as ctx:
        return await run_in_threadpool(_estimate, ctx, body)


def _estimate(ctx: Context, body: schemas.AskEstimate) -> schemas.Estimate:
    model = base_model(ctx, body.baseModel)
    made = estimates.estimate(ctx, model, body.datasetSize, num_epochs=schemas.DEFAULT_EPOCHS)
    return schemas.Estimate(
        baseModel=body.baseModel,
        datasetSize=body.datasetSize,
        estimatedCost=made.cost,
        estimatedTimeMinutes=made.minutes,
        currency="USD",
    )
