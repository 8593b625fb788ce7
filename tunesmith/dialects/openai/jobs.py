"""Fine-tuning jobs: create, list, retrieve, pause, resume, cancel; events and checkpoints."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from tunesmith.dialects.openai import models, translate, translate_jobs
from tunesmith.dialects.openai import schemas_jobs as schemas
from tunesmith.dialects.openai.auth import InContext, InReadContext
from tunesmith.domain.errors import NotFound
from tunesmith.domain.models import TunedModel
from tunesmith.services import jobs, pausing
from tunesmith.services.context import Context
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

Limit = Annotated[int, Query(ge=0, le=1000)]
_BY_METADATA: dict[str, Any] = {
    "name": "metadata",
    "in": "query",
    "style": "deepObject",
    "explode": True,
    "schema": {"type": "object", "additionalProperties": {"type": "string"}},
    "description": "jobs with all of these pairs; or `metadata=null`, jobs without any",
}


@router.post("", response_model=schemas.Job)
def create_job(request: Request, body: schemas.CreateJob, ctx: InContext) -> schemas.Job | Response:
    def act() -> schemas.Job:
        new = translate_jobs.new_job(body, _find_tuned(ctx, body.model))
        create = jobs.create_once if _is_repeated(request) else jobs.create
        return translate_jobs.job(create(ctx, new), ctx.organization)

    return once(request, ctx, body.model_dump_json(), act)


@router.get("", openapi_extra={"parameters": [_BY_METADATA]})
def list_jobs(
    request: Request, ctx: InReadContext, after: str | None = None, limit: Limit = 20
) -> schemas.JobList:
    page = translate.page_request("job", limit, after)
    wanted = translate_jobs.job_filter(request.query_params.multi_items())
    return translate_jobs.jobs(jobs.list_(ctx, page, wanted), ctx.organization)


@router.get("/{job_id}")
def retrieve_job(job_id: str, ctx: InReadContext) -> schemas.Job:
    job = jobs.get(ctx, translate.inner_id("job", job_id))
    return translate_jobs.job(job, ctx.organization)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, ctx: InContext) -> schemas.Job:
    job = jobs.stop(ctx, translate.inner_id("job", job_id))
    return translate_jobs.job(job, ctx.organization)


@router.post("/{job_id}/pause")
def pause_job(job_id: str, ctx: InContext) -> schemas.Job:
    """The job is still `running` until its worker has stopped at a checkpoint, then `paused`."""
    job = pausing.pause(ctx, translate.inner_id("job", job_id))
    return translate_jobs.job(job, ctx.organization)


@router.post("/{job_id}/resume")
def resume_job(job_id: str, ctx: InContext) -> schemas.Job:
    job = pausing.resume(ctx, translate.inner_id("job", job_id))
    return translate_jobs.job(job, ctx.organization)


@router.get("/{job_id}/events")
def list_events(
    job_id: str, ctx: InReadContext, after: str | None = None, limit: Limit = 20
) -> schemas.EventList:
    page = translate.page_request("event", limit, after)
    job, events = jobs.list_events(ctx, translate.inner_id("job", job_id), page)
    return translate_jobs.events(events, job, ctx.organization)


@router.get("/{job_id}/checkpoints")
def list_checkpoints(
    job_id: str, ctx: InReadContext, after: str | None = None, limit: Limit = 10
) -> schemas.CheckpointList:
    page = translate.page_request("checkpoint", limit, after)
    job, checkpoints = jobs.list_checkpoints(ctx, translate.inner_id("job", job_id), page)
    return translate_jobs.checkpoints(checkpoints, job, ctx.organization)


def _is_repeated(request: Request) -> bool:
    """Whether the client sends this again, because no answer to the first one reached it."""
    count = request.headers.get("x-stainless-retry-count", "")
    return count.isascii() and count.isdigit() and count.strip("0") != ""


def _find_tuned(ctx: Context, name: str) -> TunedModel | None:
    """The caller's tuned model of that name, to be tuned further."""
    try:
        return models.owned(ctx, name)
    except NotFound:
        return None
