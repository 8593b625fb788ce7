"""Overview: what waits and why, the curves of a job, which models answer, and estimates."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import (
    documentation,
    references,
    schemas,
    translate,
    translate_overview,
)
from tunesmith.dialects.platform import schemas_overview as wire
from tunesmith.dialects.platform.auth import ToRead, as_caller
from tunesmith.dialects.platform.catalogue import base_model
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.hyperparameters import AUTO, Hyperparameters, Method
from tunesmith.services import datasets, deployments, estimates, jobs, queue_report, usage
from tunesmith.services.context import Context

router = APIRouter(prefix="/fine-tuning", tags=["overview"])
answers_router = APIRouter(prefix="/ai", tags=["overview"])

MAX_POINTS = 1000
MAX_WAITING = 100
DEFAULT_DAYS = 30
MAX_DAYS = 366
DAYS = {"type": "integer", "minimum": 1, "maximum": MAX_DAYS, "default": DEFAULT_DAYS}


@router.get("/jobs/{job_id}/curves")
def retrieve_curves(job_id: str, ctx: ToRead) -> wire.Curves:
    """Every figure of up to 1,000 steps, evenly apart, the last among them."""
    job, steps = jobs.list_metrics(ctx, translate.inner_job_id(job_id), MAX_POINTS)
    return wire.Curves(
        jobId=translate.job_id(job),
        totalSteps=None if job.progress is None else job.progress.total_steps,
        points=[translate_overview.point(figures) for figures in steps],
    )


@router.get("/queue")
def list_queue(ctx: ToRead) -> wire.Queue:
    """The organization's first 100 jobs that wait, as they would begin, and why they wait."""
    waiting = queue_report.list_own(ctx)
    first = [
        translate_overview.waiting(one, jobs.get(ctx, one.job_id).name)
        for one in waiting[:MAX_WAITING]
    ]
    return wire.Queue(count=len(waiting), jobs=first)


@router.get("/models", openapi_extra=documentation.query(**translate.PAGE))
def list_models(request: Request, ctx: ToRead) -> wire.ModelList:
    """What finished jobs have left, newest first, whether it answers already or not."""
    limit, offset = translate.page(request.query_params)
    found = deployments.list_(ctx, offset=offset, limit=limit)
    items = [translate_overview.model(one) for one in found.items]
    return wire.ModelList(count=found.count, limit=limit, offset=offset, models=items)


@router.get("/usage", openapi_extra=documentation.query(days=DAYS))
def retrieve_usage(request: Request, ctx: ToRead) -> wire.Usage:
    """What was trained on each of the last days."""
    num_days = translate.integer(request.query_params, "days", DEFAULT_DAYS, 1, MAX_DAYS)
    by_day = usage.trained_tokens_by_day(ctx, num_days)
    days = [wire.DayOfUsage(date=str(day), trainedTokens=n) for day, n in by_day.items()]
    return wire.Usage(trainedTokens=sum(by_day.values()), days=days)


@answers_router.get("/usage", openapi_extra=documentation.query(days=DAYS))
def retrieve_answers_usage(request: Request, ctx: ToRead) -> wire.AnswersUsage:
    """What answers took on the last days. A request is counted a few seconds after its answer."""
    num_days = translate.integer(request.query_params, "days", DEFAULT_DAYS, 1, MAX_DAYS)
    return translate_overview.answers_usage(usage.answers(ctx, num_days))


@router.post("/estimates", openapi_extra=schemas.openapi_body(wire.AskRange))
async def estimate_range(request: Request) -> wire.EstimateRange:
    """Time and price from low to high, and what "auto" comes to. Other fields are passed over."""
    async with as_caller(request, Scope.JOBS_READ, writes=False):
        pass  # the body is judged last
    body, _ = await schemas.read(request, wire.AskRange)
    async with as_caller(request, Scope.JOBS_READ, writes=False) as ctx:
        tuned = await run_in_threadpool(references.find_tuned, request, ctx, body.baseModel)
        base = body.baseModel if tuned is None else tuned.base_model
        return await run_in_threadpool(_estimate, ctx, body, base)


def _estimate(ctx: Context, body: wire.AskRange, base: str) -> wire.EstimateRange:
    model = base_model(ctx, base)
    examples, length = _size(ctx, body)
    method = Method(body.objective)
    asked = Hyperparameters(
        num_epochs=body.epochs or AUTO,
        batch_size=body.batchSize or AUTO,
        trains_all_weights=body.method == "full",
    )
    resolved = asked.resolved(examples)
    made = estimates.estimate_range(ctx, model, examples, resolved, method, length)
    return translate_overview.estimated(model, examples, made, resolved, method)


def _size(ctx: Context, body: wire.AskRange) -> tuple[int, float | None]:
    """How many examples, and how many tokens in each, as far as is known."""
    if body.dataset is None:
        if body.examples is None:
            raise InvalidRequest("Send `dataset` or `examples`.", param="examples")
        return body.examples, body.tokensPerExample
    file = datasets.get(ctx, translate.inner_id("file", "ds_", body.dataset))
    examples = file.num_examples or datasets.count_examples(ctx.house.blobs, file.blob)
    if not examples:
        raise InvalidRequest("The dataset has no examples.", param="dataset")
    return examples, body.tokensPerExample or estimates.guess_length(file, examples)
