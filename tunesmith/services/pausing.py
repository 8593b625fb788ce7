"""Pausing a job and letting it go on: what its owner wants, and how it comes about."""

from datetime import datetime
from uuid import UUID

from tunesmith.domain.accounts import Scope
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import Job, JobStatus, Task
from tunesmith.services import audit, checkpoints
from tunesmith.services.context import Context
from tunesmith.services.jobs import tell
from tunesmith.store.database import Store


def pause(ctx: Context, job_id: UUID) -> Job:
    """At once for a job that waits; one that runs is paused when its worker has let go of it."""
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    if job.status is JobStatus.QUEUED:
        pausing = come_about(ctx.store, job, ctx.now())
    else:
        pausing = job.pausing()
        ctx.store.jobs.replace(job, pausing)
        ctx.store.queue.ask_again(job.id)
        ctx.store.jobs.touch(job.id, ctx.now())
    audit.record(ctx, "job.pause", job.id, before=job, after=pausing)
    return pausing


def resume(ctx: Context, job_id: UUID) -> Job:
    """Go on from the snapshot; a pause that has not come about yet is taken back."""
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    resumed = job.resumed()
    ctx.store.jobs.replace(job, resumed)
    if resumed.status is JobStatus.QUEUED:
        now = ctx.now()
        ctx.store.queue.push(resumed, Task.TRAIN, now)
        tell(ctx.store, job, EventKind.UNPAUSED, now=now)
    else:
        ctx.store.queue.ask_again(job.id)
    audit.record(ctx, "job.resume", job.id, before=job, after=resumed)
    return resumed


def come_about(store: Store, job: Job, now: datetime) -> Job:
    """Out of the queue, with a snapshot that answers where there is anything to take one of."""
    paused = job.paused()
    store.jobs.replace(job, paused)
    store.queue.remove(job.id, now)
    snapshot = checkpoints.name_newest(store, job, now)
    model = checkpoints.model_of(snapshot) if snapshot else {}
    tell(store, job, EventKind.PAUSED, now=now, **model)
    return paused
