"""Fine-tuning jobs as their owners see them."""

import hashlib
import secrets
from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from pydantic import TypeAdapter

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest, NotFound, WrongState
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.jobs import (
    Action,
    Checkpoint,
    Job,
    JobFilter,
    JobSearch,
    JobStatus,
    NewJob,
    PinnedFile,
    Task,
)
from tunesmith.domain.paging import Page, PageRequest, Slice
from tunesmith.services import audit, deliveries, integrations, quotas
from tunesmith.services.context import Context
from tunesmith.store.database import Store

MAX_SEED = 2**31 - 1
MAX_SUFFIX_LENGTH = 64
REPEATED_WITHIN_SECONDS = 60.0
_NEW_JOB = TypeAdapter(NewJob)

_OUTCOMES = {
    EventKind.SUCCEEDED: JobStatus.SUCCEEDED,
    EventKind.FAILED: JobStatus.FAILED,
    EventKind.STOPPED: JobStatus.STOPPED,
}


def create(ctx: Context, new: NewJob) -> Job:
    """Queue a job on data that the caller owns; the data is judged later, by a worker."""
    ctx.require(Scope.JOBS_WRITE)
    model = ctx.store.models.find_base(new.base_model)
    parent = new.initial_model
    if model is None or (parent is not None and parent.organization_id != ctx.owner):
        raise InvalidRequest(
            f"The model {new.base_model!r} is not available for fine-tuning; "
            f"available: {', '.join(m.name for m in ctx.store.models.list_bases())}.",
            param="model",
            code="model_not_available",
        )
    _check_limits(new)
    _check_start(new)
    ctx.house.blobs.require_room()  # for its checkpoints
    quota = quotas.admit_job(ctx)
    now = ctx.now()
    job = Job(
        id=uuid4(),
        organization_id=ctx.owner,
        base_model=model.name,
        training_file=_pin(ctx, new.training_file_id, "training_file", new.training_reference),
        validation_file=(
            _pin(ctx, new.validation_file_id, "validation_file", new.validation_reference)
            if new.validation_file_id
            else None
        ),
        method=new.method,
        initial_model=parent,
        hyperparameters=new.hyperparameters,
        seed=secrets.randbelow(MAX_SEED + 1) if new.seed is None else new.seed,
        suffix=new.suffix,
        metadata=new.metadata,
        integrations=new.integrations,
        status=JobStatus.VALIDATING,
        attempt=0,
        created_at=now,
        request_digest=_digest(ctx, new),
        name=new.name or new.suffix or model.name,
        description=new.description,
        key_id=ctx.key.id,
        needs_deployment=new.needs_deployment,
        updated_at=now,
        priority=quota.default_priority,
        traceparent=ctx.origin.traceparent,
    )
    _add(ctx, job)
    audit.record(ctx, "job.create", job.id, after=job)
    return job


def reproduce(ctx: Context, job_id: UUID) -> Job:
    """A new job with the bytes, the recipe and the seed of one that has succeeded.

    The files may have been deleted meanwhile: a job keeps its bytes.
    """
    ctx.require(Scope.JOBS_WRITE)
    original = ctx.store.jobs.get(job_id, ctx.owner)
    if original.status is not JobStatus.SUCCEEDED:
        raise WrongState("reproduced", original.status)
    ctx.house.blobs.require_room()
    quota = quotas.admit_job(ctx)
    now = ctx.now()
    job = Job(
        id=uuid4(),
        organization_id=ctx.owner,
        base_model=original.base_model,
        training_file=original.training_file,
        validation_file=original.validation_file,
        method=original.method,
        initial_model=original.initial_model,
        hyperparameters=original.hyperparameters,
        seed=original.seed,
        suffix=original.suffix,
        metadata=None,
        status=JobStatus.VALIDATING,
        attempt=0,
        created_at=now,
        name=original.name,
        description=f"Reproduces job {original.id}.",
        key_id=ctx.key.id,
        needs_deployment=False,  # so that its files can be compared
        updated_at=now,
        priority=quota.default_priority,
        traceparent=ctx.origin.traceparent,
    )
    _add(ctx, job)
    audit.record(ctx, "job.reproduce", job.id, after=job)
    return job


def create_once(ctx: Context, new: NewJob) -> Job:
    """The job that this key asked for in the same words within the last minute, or a new one.

    For a request that a client sends again because the first one's answer did not arrive.
    """
    ctx.require(Scope.JOBS_WRITE)
    since = ctx.now() - timedelta(seconds=REPEATED_WITHIN_SECONDS)
    made_before = ctx.store.jobs.find_repeated(ctx.owner, _digest(ctx, new), since)
    return made_before or create(ctx, new)


def get(ctx: Context, job_id: UUID) -> Job:
    ctx.require(Scope.JOBS_READ)
    return ctx.store.jobs.get(job_id, ctx.owner)


def get_to(ctx: Context, action: Action, job_id: UUID) -> Job:
    """A job that is in a state for the action; raises `WrongState`."""
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get(job_id, ctx.owner)
    job.require(action)
    return job


def list_(ctx: Context, request: PageRequest, wanted: JobFilter) -> Page[Job]:
    ctx.require(Scope.JOBS_READ)
    return ctx.store.jobs.list_page(ctx.owner, request, wanted)


def search(ctx: Context, wanted: JobSearch) -> Slice[Job]:
    ctx.require(Scope.JOBS_READ)
    return ctx.store.jobs.search(ctx.owner, wanted)


def count_by_status(ctx: Context) -> dict[JobStatus, int]:
    ctx.require(Scope.JOBS_READ)
    return ctx.store.jobs.count_by_status(ctx.owner)


def stop(ctx: Context, job_id: UUID) -> Job:
    """End a job for good. Its worker learns of it when it asks; checkpoints are kept."""
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    now = ctx.now()
    stopped = job.stopped(now)
    ctx.store.jobs.replace(job, stopped)
    ctx.store.queue.remove(job.id, now)
    ctx.store.queue.ask_again(job.id)
    tell(ctx.store, job, EventKind.STOPPED, now=now)
    audit.record(ctx, "job.stop", job.id, before=job, after=stopped)
    return stopped


def restart(
    ctx: Context,
    job_id: UUID,
    training_file: PinnedFile | None = None,
    validation_file: PinnedFile | None = None,
) -> Job:
    """Begin anew from where the job began at first, with files as they are now where given.

    What earlier attempts have left goes; their lines of the log stay. Attempts are counted on, so
    that late reports of earlier ones are refused.
    """
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    job.require(Action.RESTART)
    quotas.admit_job(ctx)
    now = ctx.now()
    restarted = replace(
        job.restarted(),
        training_file=training_file or job.training_file,
        validation_file=validation_file or job.validation_file,
    )
    ctx.store.jobs.replace(job, restarted)
    ctx.store.models.delete_checkpoints(job.id)
    ctx.store.jobs.delete_checkpoints(job.id)
    ctx.store.events.retire_steps(job.id)
    ctx.store.integrations.delete_all(job.id)
    integrations.open_runs(ctx.store, job, now)
    ctx.store.queue.push(restarted, Task.VALIDATE, now)
    tell(ctx.store, job, EventKind.RESTARTED, now=now)
    audit.record(ctx, "job.restart", job.id, before=job, after=restarted)
    return restarted


def delete(ctx: Context, job_id: UUID) -> None:
    """With its log, figures and checkpoints; the model that it has left behind stays.

    An attempt that is still under way learns that it is over when it asks.
    """
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    job.require(Action.DELETE)
    ctx.store.queue.remove(job.id, ctx.now())
    ctx.store.queue.ask_again(job.id)
    ctx.store.models.delete_checkpoints(job.id)
    ctx.store.models.forget_job(job.id)
    ctx.store.jobs.delete_checkpoints(job.id)
    ctx.store.events.delete_all(job.id)
    ctx.store.integrations.delete_all(job.id)
    if job.results_file_id is not None:
        ctx.store.files.discard(job.results_file_id)
    ctx.store.jobs.delete(job)
    audit.record(ctx, "job.delete", job.id, before=job)


def warn(ctx: Context, job: Job, message: str) -> None:
    """Tell a job's readers of something that was not heeded."""
    tell(ctx.store, job, EventKind.NOTE, now=ctx.now(), level=Level.WARNING, message=message)


def list_log(
    ctx: Context, job_id: UUID, kinds: Collection[EventKind], after: datetime | None, limit: int
) -> tuple[Job, list[Event]]:
    """Oldest first: the first ones after a moment, or else the last ones."""
    job = get(ctx, job_id)
    return job, ctx.store.events.list_log(job.id, kinds, after, limit)


def list_metrics(ctx: Context, job_id: UUID, max_points: int) -> tuple[Job, list[dict[str, Any]]]:
    """The figures of so many steps at most, evenly apart and in order, the last among them."""
    job = get(ctx, job_id)
    return job, ctx.store.events.list_metrics_thinned(job.id, max_points)


def list_events(ctx: Context, job_id: UUID, request: PageRequest) -> tuple[Job, Page[Event]]:
    job = get(ctx, job_id)
    return job, ctx.store.events.list_page(job.id, request)


def list_checkpoints(
    ctx: Context, job_id: UUID, request: PageRequest
) -> tuple[Job, Page[Checkpoint]]:
    job = get(ctx, job_id)
    return job, ctx.store.jobs.list_checkpoints(job.id, request)


def tell(
    store: Store,
    job: Job,
    kind: EventKind,
    *,
    now: datetime,
    level: Level = Level.INFO,
    **data: Any,
) -> None:
    """Add to what happened to a job; how it ended is told to its organization's webhooks, too."""
    store.events.add(
        Event(id=uuid4(), job_id=job.id, created_at=now, kind=kind, level=level, data=data)
    )
    if kind in _OUTCOMES:
        deliveries.announce(store, job, _OUTCOMES[kind], now)


def _add(ctx: Context, job: Job) -> None:
    now = job.created_at
    ctx.store.jobs.add(job)
    ctx.store.queue.push(job, Task.VALIDATE, now)
    integrations.open_runs(ctx.store, job, now)
    tell(ctx.store, job, EventKind.CREATED, now=now)
    tell(ctx.store, job, EventKind.VALIDATING, now=now)


def _digest(ctx: Context, new: NewJob) -> str:
    """Of the key and everything that it asks for."""
    return hashlib.sha256(ctx.key.id.bytes + _NEW_JOB.dump_json(new)).hexdigest()


def _pin(ctx: Context, file_id: UUID, param: str, reference: str | None) -> PinnedFile:
    try:
        file = ctx.store.files.get(file_id, ctx.owner, ctx.now())
    except NotFound as error:
        raise NotFound(error.kind, error.reference, param=param) from None
    if file.purpose is not FilePurpose.TRAINING:
        raise InvalidRequest(
            f"The file was uploaded with another purpose ({file.purpose.value}); "
            "upload it again for fine-tuning.",
            param=param,
        )
    return PinnedFile(file_id=file.id, blob=file.blob, filename=file.filename, reference=reference)


def _check_start(new: NewJob) -> None:
    """An adapter is tuned further as an adapter, and a whole model as a whole."""
    parent = new.initial_model
    if parent is None or parent.is_whole == new.hyperparameters.trains_all_weights:
        return
    if parent.is_whole:
        message = (
            "All weights of this model were trained, so it has no adapter to go on with. Train all "
            'weights again (`"method": "full"` of the platform API); or download its files, add '
            "them with `tunesmith models add`, and tune that."
        )
    else:
        message = "All weights can be trained of a base model or a whole one, not of an adapter."
    raise InvalidRequest(message, param="model")


def _check_limits(new: NewJob) -> None:
    if new.hyperparameters.early_stopping_patience is not None and new.validation_file_id is None:
        message = "Stopping early goes by the validation loss: a validation file is needed."
        raise InvalidRequest(message, param="early_stopping_patience")
    if new.seed is not None and not 0 <= new.seed <= MAX_SEED:
        raise InvalidRequest(f"seed must be between 0 and {MAX_SEED}.", param="seed")
    if new.suffix is not None and not 1 <= len(new.suffix) <= MAX_SUFFIX_LENGTH:
        raise InvalidRequest(
            f"suffix must have 1 to {MAX_SUFFIX_LENGTH} characters.", param="suffix"
        )
