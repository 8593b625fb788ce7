"""Fine-tuning jobs: create, list, retrieve, delete, stop, restart, deploy."""

from dataclasses import replace
from uuid import UUID

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import (
    documentation,
    references,
    schemas,
    translate,
    translate_jobs,
    translate_overview,
)
from tunesmith.dialects.platform import schemas_overview as wire
from tunesmith.dialects.platform.auth import ToRead, ToWrite, as_caller, read_at_once
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import WrongState
from tunesmith.domain.jobs import Action, Job, JobStatus
from tunesmith.domain.models import TunedModel
from tunesmith.services import deployments, jobs, models
from tunesmith.services.context import Context
from tunesmith.wire.idempotency import once

router = APIRouter(prefix="/fine-tuning/jobs", tags=["jobs"])

MAX_WARNINGS = 20  # about fields that nobody knows


@router.get("", openapi_extra=documentation.query(**translate.PAGE, **translate.SEARCH))
def list_jobs(request: Request, response: Response, ctx: ToRead) -> wire.JobList:
    """`Link` leads to the next page, at the same cost however many have been turned."""
    with_progress = translate.wants_progress(request.query_params)
    wanted = translate.job_search(request.query_params)
    if wanted.base_model is not None:
        wanted = replace(wanted, base_model=_name_of(ctx, wanted.base_model))
    found = jobs.search(ctx, wanted)
    if len(found.items) == wanted.limit:
        last = translate.job_id(found.items[-1])
        following = request.url.include_query_params(after=last).remove_query_params("offset")
        response.headers["Link"] = f'<{following}>; rel="next"'
    shown = translate_overview.job_item_with_progress if with_progress else translate.job_item
    return wire.JobList(
        count=found.count,
        limit=wanted.limit,
        offset=wanted.offset,
        jobs=[shown(job) for job in found.items],
    )


@router.post(
    "",
    status_code=201,
    response_model=schemas.CreatedJob,
    openapi_extra=schemas.openapi_body(schemas.CreateJob),
)
async def create_job(request: Request) -> schemas.CreatedJob | Response:
    """Fields that are not listed are passed over, and named in the job's log."""
    async with as_caller(request, Scope.JOBS_WRITE, writes=False):
        pass  # who may not do this learns nothing of what the body lacks
    body, unknown = await schemas.read(request, schemas.CreateJob)
    method = translate_jobs.method(body)
    training = await references.locate(request, body.trainingDataset, "trainingDataset", method)
    validation = None
    if body.validationFile is not None:
        validation = await references.locate(
            request, body.validationFile, "validationFile", method, beside=training
        )
    async with as_caller(request, Scope.JOBS_WRITE, writes=True) as ctx:

        def act() -> schemas.CreatedJob:
            initial = references.find_tuned(request, ctx, body.baseModel)
            job = _create(ctx, body, training, validation, initial)
            for name in unknown[:MAX_WARNINGS]:
                sentence = f"The request's field {name[:100]!r} is not known and was ignored."
                jobs.warn(ctx, job, sentence)
            return translate.created_job(job)

        return await run_in_threadpool(once, request, ctx, body.model_dump_json(), act, 201)


@router.get("/{job_id}", response_model=schemas.Job)
async def retrieve_job(job_id: str, request: Request) -> Response:
    def read(ctx: Context) -> schemas.Job:
        job = jobs.get(ctx, translate.inner_job_id(job_id))
        base = models.find_base(ctx, job.base_model)
        return translate.job(job, base, deployments.find(ctx, job))

    return await read_at_once(request, read)


@router.get("/{job_id}/status", response_model=schemas.JobStatus)
async def retrieve_status(job_id: str, request: Request) -> Response:
    def read(ctx: Context) -> schemas.JobStatus:
        return translate.job_status(jobs.get(ctx, translate.inner_job_id(job_id)))

    return await read_at_once(request, read)


@router.delete("/{job_id}", status_code=204, response_class=Response)
def delete_job(job_id: str, ctx: ToWrite) -> Response:
    jobs.delete(ctx, translate.inner_job_id(job_id))
    return Response(status_code=204)


@router.post("/{job_id}/stop")
def stop_job(job_id: str, ctx: ToWrite) -> schemas.Done:
    inner = translate.inner_job_id(job_id)
    try:
        job = jobs.stop(ctx, inner)
    except WrongState as error:
        if error.status != JobStatus.STOPPED:
            raise
        return schemas.Done(id=job_id, status="stopped", message="The job had been stopped before.")
    return schemas.Done(
        id=translate.job_id(job), status=translate.status(job.status), message="The job is stopped."
    )


@router.post("/{job_id}/restart")
async def restart_job(job_id: str, request: Request) -> schemas.Done:
    inner = translate.inner_job_id(job_id)
    async with as_caller(request, Scope.JOBS_WRITE, writes=False) as ctx:
        before = await run_in_threadpool(jobs.get_to, ctx, Action.RESTART, inner)
    training, validation = await _located_again(request, before)
    async with as_caller(request, Scope.JOBS_WRITE, writes=True) as ctx:
        job = await run_in_threadpool(_restart, ctx, inner, training, validation)
    return schemas.Done(
        id=translate.job_id(job),
        status=translate.status(job.status),
        message="The job waits to be trained anew, from its base model.",
    )


@router.post("/{job_id}/deploy")
def deploy_job(job_id: str, ctx: ToWrite) -> schemas.Deployed:
    job = deployments.deploy(ctx, translate.inner_job_id(job_id))
    return schemas.Deployed(
        id=translate.job_id(job),
        resultModel=job.model_name or "",
        status="deployed",
        message="The model answers under its name.",
    )


def _create(
    ctx: Context,
    body: schemas.CreateJob,
    training: references.Located,
    validation: references.Located | None,
    initial: TunedModel | None,
) -> Job:
    training_id = training.kept(ctx).file_id
    validation_id = None if validation is None else validation.kept(ctx).file_id
    return jobs.create(ctx, translate_jobs.new_job(body, training_id, validation_id, initial))


def _restart(
    ctx: Context,
    job_id: UUID,
    training: references.Located | None,
    validation: references.Located | None,
) -> Job:
    kept = (None if located is None else located.kept(ctx) for located in (training, validation))
    return jobs.restart(ctx, job_id, *kept)


async def _located_again(
    request: Request, job: Job
) -> tuple[references.Located | None, references.Located | None]:
    """What was named by a reference may be another file by now; the rest is what it was."""
    training = validation = None
    if job.training_file.reference is not None:
        training = await references.locate(
            request, job.training_file.reference, "trainingDataset", job.method
        )
    if job.validation_file is not None and job.validation_file.reference is not None:
        validation = await references.locate(
            request, job.validation_file.reference, "validationFile", job.method, beside=training
        )
    return training, validation


def _name_of(ctx: Context, name_or_alias: str) -> str:
    base = models.find_base(ctx, name_or_alias)
    return name_or_alias if base is None else base.name
