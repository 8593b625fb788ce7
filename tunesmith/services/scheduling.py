"""Who runs next, and what becomes of attempts that are lost."""

from collections.abc import Collection
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from tunesmith import metrics
from tunesmith.domain.assignments import LEASE_SECONDS, Assignment, Registration
from tunesmith.domain.errors import StaleAttempt
from tunesmith.domain.events import EventKind, Level
from tunesmith.domain.jobs import Failure, Job, JobStatus, Task
from tunesmith.services import pausing
from tunesmith.services.jobs import tell
from tunesmith.store.database import Store
from tunesmith.store.queue import Lease

MAX_LOSSES = 5  # attempts lost in a row, without a new checkpoint, before a job is given up
_REGISTRATION = TypeAdapter(Registration)


def register(store: Store, registration: Registration, now: datetime) -> None:
    """Take note of a worker; what its earlier incarnations were doing waits for another worker."""
    store.queue.register(registration, _REGISTRATION.dump_python(registration, mode="json"), now)
    for lease in store.queue.list_held_by_others(registration.name, registration.incarnation):
        lose(store, lease, "the worker was started again", now, cause="restarted")


def lease(
    store: Store, registration: Registration, now: datetime, tasks: Collection[Task] = tuple(Task)
) -> Assignment | None:
    """The next thing to do, or None; raises `StaleAttempt` for a worker that was replaced."""
    if not store.queue.is_current(registration.name, registration.incarnation):
        raise StaleAttempt(
            f"Another worker has registered under the name {registration.name!r}; "
            "give each worker its own name."
        )
    store.queue.seen(registration.name, now)
    expires_at = now + timedelta(seconds=LEASE_SECONDS)
    leased = store.queue.lease_next(
        registration.name, registration.incarnation, now, expires_at, tasks
    )
    return None if leased is None else _assign(store, leased, now)


def _assign(store: Store, leased: Lease, now: datetime) -> Assignment | None:
    job = store.jobs.get_for_worker(leased.job_id)
    base_model = store.models.find_base(job.base_model)
    if base_model is None:
        message = f"The base model {job.base_model} has been taken out of the catalogue."
        end_as_failed(store, job, Failure(code="no_base_model", message=message), now)
        return None
    if leased.task is Task.TRAIN:
        store.jobs.replace(job, job.started(now))
        store.jobs.touch(job.id, now)
    newest = store.jobs.all_checkpoints(job.id)[-1:]
    return Assignment(
        job_id=job.id,
        attempt=leased.attempt,
        task=leased.task,
        base_model=base_model,
        training_file=job.training_file.blob,
        validation_file=job.validation_file.blob if job.validation_file else None,
        hyperparameters=job.hyperparameters,
        seed=job.seed,
        method=job.method,
        initial_adapter=job.initial_model.artifacts if job.initial_model else (),
        resume_from=newest[0].artifacts if newest else (),
    )


def requeue_expired(store: Store, now: datetime) -> int:
    """Put back what silent workers held; returns how many."""
    expired = store.queue.list_expired(now)
    for leased in expired:
        metrics.LEASE_RENEW_FAILURES.inc()
        lose(store, leased, "the worker fell silent", now, cause="silent")
    return len(expired)


def lose(store: Store, leased: Lease, reason: str, now: datetime, *, cause: str) -> None:
    """An attempt ended through no fault of the job, which waits again, later each time.

    `cause` is the reason in one word, of which there are few.
    """
    metrics.ATTEMPTS.labels("lost", cause).inc()
    metrics.RUNNING.ended(leased.job_id)
    job = store.jobs.get_for_worker(leased.job_id)
    losses = leased.losses + 1
    if losses > MAX_LOSSES:
        failure = Failure(
            code="attempts_lost",
            message=f"The job was given up after {losses} attempts in a row were lost: {reason}.",
        )
        end_as_failed(store, job, failure, now)
        return
    wait = timedelta(seconds=0 if losses == 1 else 2**losses)
    tell(store, job, EventKind.INTERRUPTED, now=now, level=Level.WARNING, reason=reason)
    _give_back(store, job, leased.task, now + wait, losses, now)


def release(store: Store, leased: Lease, now: datetime) -> None:
    """An attempt ended in good order: its worker is leaving, or the job is to be paused."""
    job = store.jobs.get_for_worker(leased.job_id)
    _give_back(store, job, leased.task, now, leased.losses, now)


def end_as_failed(store: Store, job: Job, failure: Failure, now: datetime) -> None:
    store.jobs.replace(job, job.failed(failure, now))
    store.queue.remove(job.id)
    tell(store, job, EventKind.FAILED, now=now, level=Level.ERROR, message=failure.message)


def _give_back(
    store: Store, job: Job, task: Task, available_at: datetime, losses: int, now: datetime
) -> None:
    if job.is_pause_wanted:
        pausing.come_about(store, job, now)
        return
    if job.status is JobStatus.RUNNING:
        store.jobs.replace(job, job.requeued())
        store.jobs.touch(job.id, now)
    store.queue.put_back(job.id, task, available_at, losses)
