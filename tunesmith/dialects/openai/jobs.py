"""Fine-tuning jobs: create, list, retrieve, cancel; their events and checkpoints."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from tunesmith.dialects.openai import schemas_jobs as schemas
from tunesmith.dialects.openai import translate, translate_jobs
from tunesmith.dialects.openai.auth import InContext, InReadContext
from tunesmith.services import jobs

router = APIRouter(prefix="/fine_tuning/jobs", tags=["fine-tuning"])

Limit = Annotated[int, Query(ge=1, le=1000)]


@router.post("")
def create_job(body: schemas.CreateJob, ctx: InContext) -> schemas.Job:
    job = jobs.create(ctx, translate_jobs.new_job(body))
    return translate_jobs.job(job, ctx.organization)


@router.get("")
def list_jobs(
    request: Request, ctx: InReadContext, after: str | None = None, limit: Limit = 20
) -> schemas.JobList:
    page = translate.page_request("job", limit, after)
    metadata = translate_jobs.metadata_filter(request.query_params.multi_items())
    return translate_jobs.jobs(jobs.list_(ctx, page, metadata), ctx.organization)


@router.get("/{job_id}")
def retrieve_job(job_id: str, ctx: InReadContext) -> schemas.Job:
    job = jobs.get(ctx, translate.inner_id("job", job_id))
    return translate_jobs.job(job, ctx.organization)


@router.post("/{job_id}/cancel")
def cancel_job(job_id: str, ctx: InContext) -> schemas.Job:
    job = jobs.stop(ctx, translate.inner_id("job", job_id))
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
