"""Who runs next, and what becomes of attempts that are lost."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from tunesmith import metrics
from tunesmith.domain import fair_share
from tunesmith.domain.assignments import LEASE_SECONDS, Assignment, Registration, Room
from tunesmith.domain.errors import InvalidRequest, StaleAttempt
from tunesmith.domain.events import EventKind, Level
from tunesmith.domain.fair_share import Capacity
from tunesmith.domain.files import is_text
from tunesmith.domain.jobs import Failure, Job, JobStatus, Task
from tunesmith.services import models, pausing
from tunesmith.services.jobs import tell
from tunesmith.store.database import Store
from tunesmith.store.queue import Lease
from tunesmith.tracing import spans

# In a row, without a new checkpoint in between:
MAX_LOSSES = 5  # attempts that a worker reported as lost, before the job is given up
MAX_SILENCES = 3  # attempts whose worker fell silent, before the job is parked

MAX_WAIT = timedelta(seconds=2**MAX_LOSSES)
MAX_DEAF = timedelta(seconds=20)  # between two looks for silent workers; they are 5 seconds apart
_REGISTRATION = TypeAdapter(Registration)


def register(store: Store, registration: Registration, now: datetime) -> None:
    """Take note of a worker; what its earlier incarnations were doing waits for another worker."""
    if not (is_text(registration.name) and is_text(registration.version)):
        raise InvalidRequest("A worker's name or version has characters that no text has.")
    store.queue.register(registration, _REGISTRATION.dump_python(registration, mode="json"), now)
    for lease in store.queue.list_held_by_others(registration.name, registration.incarnation):
        _end_silent(store, lease, "the worker was started again", now, cause="restarted")


def lease(
    store: Store,
    registration: Registration,
    now: datetime,
    tasks: Collection[Task] = tuple(Task),
) -> Assignment | None:
    """The next thing to do, or None; raises `StaleAttempt` for a worker that was replaced."""
    if not store.queue.is_current(registration.name, registration.incarnation):
        raise StaleAttempt(
            f"Another worker has registered under the name {registration.name!r}; "
            "give each worker its own name."
        )
    store.queue.seen(registration.name, now)
    if not store.queue.has_waiting(now, tasks):
        return None
    leased = _place(store, registration, now, tasks)
    return None if leased is None else _assign(store, leased, now)


def _place(
    store: Store, registration: Registration, now: datetime, tasks: Collection[Task]
) -> Lease | None:
    """The one place where jobs are given to workers: one after another, by all servers."""
    system_time = store.shares.lock()
    candidates = store.queue.list_candidates(now, tasks)
    standings = store.shares.standings({c.organization_id for c in candidates}, now)
    capacity = _capacity(store, registration.room)
    choice = fair_share.choose(candidates, standings, system_time, capacity, now)
    job_id = None if choice is None else store.queue.job_at(choice.next.seq)
    if choice is None or job_id is None:
        return None
    job = store.jobs.get_for_worker(job_id)
    expires_at = now + timedelta(seconds=LEASE_SECONDS)
    leased = store.queue.lease(job, registration.name, registration.incarnation, now, expires_at)
    if leased is None:  # its owner has stopped or paused it just now
        return None
    lifted = standings[job.organization_id].lifted(system_time)
    store.shares.begin(job.organization_id, lifted, choice.system_time)
    if choice.passed_over is not None:
        store.queue.passed_over(choice.passed_over.seq, now)
    return leased


def _capacity(store: Store, room: Room) -> Capacity:
    current = [r for r in room.residents if _is_current(store, r.base_model, r.fingerprint)]
    return Capacity(
        resident=frozenset(r.base_model for r in current),
        full=frozenset(r.base_model for r in current if not r.takes_more),
        takes_others=room.takes_others,
    )


def _is_current(store: Store, base_model: str, fingerprint: str | None) -> bool:
    """Whether these weights are those that the catalogue has."""
    model = store.models.find_base(base_model)
    return model is not None and model.fingerprint == fingerprint


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
    place: dict[str, spans.Value] = {"job": str(job.id), "attempt": leased.attempt}
    place["task"] = leased.task.value
    spans.record("queue wait", job.traceparent, leased.available_at, now, **place)
    newest = store.jobs.all_checkpoints(job.id)[-1:]
    parent = job.initial_model
    if parent is not None and parent.is_whole:
        base_model = models.as_base(parent, base_model)
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
        initial_adapter=parent.artifacts if parent is not None and not parent.is_whole else (),
        resume_from=newest[0].artifacts if newest else (),
        traceparent=job.traceparent,
    )


def end_silent(store: Store, now: datetime) -> int:
    """Put back what silent workers held; returns how many. To be called every few seconds.

    Silence counts only while a server was there to hear: after a longer absence of all servers, or
    a step of the clock, every lease starts anew.
    """
    heard_at = store.shares.heard(now)
    expires_at = now + timedelta(seconds=LEASE_SECONDS)
    if heard_at is not None and timedelta(0) <= now - heard_at <= MAX_DEAF:
        store.queue.bound_leases(expires_at)  # a clock may have stepped and come back in between
        return requeue_expired(store, now)
    store.queue.begin_anew(now, expires_at, latest=now + MAX_WAIT)
    return 0


def requeue_expired(store: Store, now: datetime) -> int:
    expired = store.queue.list_expired(now)
    metrics.LEASE_RENEW_FAILURES.inc(len(expired))
    return sum(
        _end_silent(store, leased, "the worker fell silent", now, cause="silent")
        for leased in expired
    )


def lose(store: Store, leased: Lease, reason: str, now: datetime, *, cause: str) -> None:
    """A worker tells that an attempt ended through no fault of the job.

    The job waits longer each time, and is given up in the end. `cause` is the reason in one word,
    of which there are few.
    """
    _count_loss(leased, cause)
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
    _give_back(store, job, replace(leased, losses=losses), now, wait)


def release(store: Store, leased: Lease, now: datetime) -> None:
    """An attempt ended in good order: its worker is leaving, or the job is to be paused."""
    job = store.jobs.get_for_worker(leased.job_id)
    _give_back(store, job, leased, now)


def _count_loss(leased: Lease, cause: str) -> None:
    metrics.ATTEMPTS.labels("lost", cause).inc()
    metrics.RUNNING.ended(leased.job_id)


def _end_silent(store: Store, leased: Lease, reason: str, now: datetime, *, cause: str) -> bool:
    """Nobody knows whose fault silence is: it costs nothing, until it happens again and again.

    A training is parked then. False where the attempt ended otherwise meanwhile.
    """
    job = store.jobs.get_for_worker(leased.job_id)
    if store.queue.find_lease(leased.job_id, leased.attempt) is None:
        return False
    silences = leased.silences + 1
    if leased.task is not Task.TRAIN and silences > MAX_SILENCES:
        lose(store, leased, reason, now, cause=cause)
        return True
    _count_loss(leased, cause)
    if silences <= MAX_SILENCES:
        tell(store, job, EventKind.INTERRUPTED, now=now, level=Level.WARNING, reason=reason)
        _give_back(store, job, replace(leased, silences=silences), now)
    else:
        message = (
            f"The job was paused: {silences} workers in a row fell silent at it, with no "
            "checkpoint in between. Resume it when their machines are in order."
        )
        tell(store, job, EventKind.NOTE, now=now, level=Level.WARNING, message=message)
        pausing.come_about(store, job, now)
    return True


def halt(store: Store, leased: Lease, reason: str, now: datetime) -> None:
    """Pause a job that cannot go on until a person has helped; its data can be checked later."""
    if leased.task is not Task.TRAIN:
        lose(store, leased, reason, now, cause="disk_full")
        return
    job = store.jobs.get_for_worker(leased.job_id)
    message = f"The job is paused. {reason} Resume it when there is room."
    tell(store, job, EventKind.NOTE, now=now, level=Level.WARNING, message=message)
    pausing.come_about(store, job, now)


def end_as_failed(store: Store, job: Job, failure: Failure, now: datetime) -> None:
    store.jobs.replace(job, job.failed(failure, now))
    store.queue.remove(job.id, now)
    tell(store, job, EventKind.FAILED, now=now, level=Level.ERROR, message=failure.message)


def _give_back(
    store: Store, job: Job, leased: Lease, now: datetime, wait: timedelta = timedelta(0)
) -> None:
    if job.is_pause_wanted:
        pausing.come_about(store, job, now)
        return
    if job.status is JobStatus.RUNNING:
        store.jobs.replace(job, job.requeued())
        store.jobs.touch(job.id, now)
    store.queue.put_back(
        job.id, leased.task, now, wait=wait, losses=leased.losses, silences=leased.silences
    )
