"""Telling a job's figures elsewhere: what is next, and what becomes of it when that goes wrong."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.integrations import Batch, IntegrationRun
from tunesmith.domain.jobs import Job
from tunesmith.store.database import Store

CLAIM_SECONDS = 300.0  # longer than any attempt: who died leaves their claim to others
LOOK_AGAIN = timedelta(seconds=15)
GIVEN_UP_AFTER = timedelta(days=1)
MAX_STEPS = 10_000  # in one batch

_FIRST_WAIT_SECONDS = 15.0
_LONGEST_WAIT_SECONDS = 3600.0
_JITTER = 0.2


def open_runs(store: Store, job: Job, now: datetime) -> None:
    for position in range(len(job.integrations)):
        run = IntegrationRun(job_id=job.id, position=position, available_at=now)
        store.integrations.add(run)


def claim(store: Store, now: datetime, limit: int) -> list[Batch]:
    """What is to be told now, by the caller and nobody else."""
    claimed = store.integrations.claim(now, now + timedelta(seconds=CLAIM_SECONDS), limit)
    batches = [_next_batch(store, run) for run in claimed]
    for batch in batches:
        if not _is_worth_telling(batch):
            logged(store, batch, now)
    return [batch for batch in batches if _is_worth_telling(batch)]


def logged(store: Store, batch: Batch, now: datetime) -> None:
    """The batch was taken."""
    step = batch.metrics[-1]["step"] if batch.metrics else batch.run.logged_step
    is_more = len(batch.metrics) == MAX_STEPS
    next_at = None if batch.is_last else now if is_more else now + LOOK_AGAIN
    store.integrations.settle(
        replace(batch.run, logged_step=step, available_at=next_at, misses=0, failing_since=None)
    )


def missed(store: Store, batch: Batch, reason: str, now: datetime) -> None:
    """To be tried again, later each time; given up after a day."""
    run = batch.run
    since = run.failing_since or now
    wait = min(_FIRST_WAIT_SECONDS * 2**run.misses, _LONGEST_WAIT_SECONDS)
    next_at = now + timedelta(seconds=wait * random.uniform(1 - _JITTER, 1 + _JITTER))
    is_too_late = next_at > since + GIVEN_UP_AFTER
    waiting = replace(
        run,
        available_at=None if is_too_late else next_at,
        misses=run.misses + 1,
        failing_since=since,
    )
    message = (
        f"The metrics could not be logged to the integration {batch.integration.kind!r} "
        f"({reason}). This is tried again for a day; the job itself goes on."
    )
    _settle_with_warning(store, waiting, message, now)


def unavailable(store: Store, batch: Batch, reason: str, now: datetime) -> None:
    """This installation has no such integration, so it is not tried again."""
    message = (
        f"The metrics are not logged to the integration {batch.integration.kind!r}: {reason} "
        "The job itself goes on."
    )
    _settle_with_warning(store, replace(batch.run, available_at=None), message, now)


def _next_batch(store: Store, run: IntegrationRun) -> Batch:
    job = store.jobs.get_for_worker(run.job_id)
    metrics = store.events.list_metrics_after(job.id, run.logged_step, MAX_STEPS)
    return Batch(
        run=run,
        job=job,
        integration=job.integrations[run.position],
        metrics=metrics,
        is_last=job.status.is_final and len(metrics) < MAX_STEPS,
    )


def _is_worth_telling(batch: Batch) -> bool:
    """A job that ended before its first step has no run to be ended."""
    return bool(batch.metrics) or (batch.is_last and batch.run.logged_step > 0)


def _settle_with_warning(store: Store, run: IntegrationRun, message: str, now: datetime) -> None:
    """One warning, however often it goes wrong."""
    if not store.integrations.settle(replace(run, is_warned=True)) or run.is_warned:
        return
    store.events.add(
        Event(
            id=uuid4(),
            job_id=run.job_id,
            created_at=now,
            kind=EventKind.NOTE,
            level=Level.WARNING,
            data={"message": message},
        )
    )
