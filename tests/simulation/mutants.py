"""Known defects, put in one at a time: what the checker must find if it is to be believed.

`python -m tests.simulation --mutants` prints how many seeds each takes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain import jobs as job_domain
from tunesmith.domain.assignments import Receipt
from tunesmith.domain.errors import StaleAttempt
from tunesmith.domain.fair_share import Standing
from tunesmith.domain.jobs import Job, JobStatus
from tunesmith.services import leases, quotas, scheduling
from tunesmith.store.events import Events
from tunesmith.store.jobs import Jobs
from tunesmith.store.queue import Queue
from tunesmith.store.queue_tables import queue
from tunesmith.store.shares import Shares
from tunesmith.store.tables import jobs

Patch = Any  # what `unittest.mock.patch` gives


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _fencing_is_off() -> Patch:
    """Reports are taken from whoever sends them, as long as somebody holds the job."""

    def held_by_any(self: Queue, job_id: UUID, attempt: int) -> sa.ColumnElement[bool]:
        return sa.and_(queue.c.job_id == job_id, queue.c.worker.is_not(None))

    return patch.object(Queue, "_held", held_by_any)


def _a_lease_is_renewed_after_its_end() -> Patch:
    """Until somebody else has the job."""

    def held_before(self: Queue, job_id: UUID, attempt: int) -> sa.ColumnElement[bool]:
        return sa.and_(queue.c.job_id == job_id, queue.c.attempt == attempt)

    return patch.object(Queue, "_held", held_before)


def _the_attempt_is_not_raised() -> Patch:
    lease = Queue.lease

    def same(self: Queue, job: Job, *where: Any) -> Any:
        return lease(self, replace(job, attempt=max(job.attempt - 1, 0)), *where)

    return patch.object(Queue, "lease", same)


def _held_jobs_are_given_out() -> Patch:
    """As where a decision is made on what was read before somebody else's."""
    listed, lease = Queue.list_candidates, Queue.lease

    def freed(self: Queue, now: datetime, tasks: Any) -> Any:
        where = queue.c.available_at <= now
        self._connection.execute(sa.update(queue).where(where).values(worker=None))
        return listed(self, now, tasks)

    def unguarded(self: Queue, job: Job, *given: Any) -> Any:
        again = (jobs.c.id == job.id, jobs.c.status == JobStatus.RUNNING)
        values = {"status": JobStatus.QUEUED}
        self._connection.execute(sa.update(jobs).where(*again).values(**values))
        return lease(self, job, *given)

    return patch.multiple(Queue, list_candidates=freed, lease=unguarded)


def _backoff_is_ignored() -> Patch:
    """A job is given out before its time."""
    listed = Queue.list_candidates
    later = timedelta(hours=1)
    return patch.multiple(
        Queue,
        list_candidates=lambda self, now, tasks: listed(self, now + later, tasks),
        has_waiting=lambda *_: True,
    )


def _quotas_are_ignored() -> Patch:
    return patch.object(Standing, "held_by", _nothing)


def _the_day_has_no_end() -> Patch:
    """Tokens of a day are not counted."""
    return patch.object(Shares, "add_trained_tokens", _nothing)


def _the_queue_has_no_quota() -> Patch:
    def admit(ctx: Any) -> Any:
        return ctx.store.shares.get_quota(ctx.owner)

    return patch.object(quotas, "admit_job", admit)


def _priority_is_ignored() -> Patch:
    listed = Queue.list_candidates

    def level(self: Queue, now: datetime, tasks: Any) -> Any:
        return [replace(candidate, priority=3) for candidate in listed(self, now, tasks)]

    return patch.object(Queue, "list_candidates", level)


def _what_has_ended_is_begun_again() -> Patch:
    """Also a job that has succeeded."""
    ended = frozenset(status for status in JobStatus if status.is_final)
    allowed = {**job_domain.ALLOWED, job_domain.Action.RESTART: ended}
    return patch.object(job_domain, "ALLOWED", allowed)


def _a_late_report_reopens() -> Patch:
    """A job that has ended goes on when its worker reports once more."""
    record = leases.record

    def reopening(store: Any, blobs: Any, job_id: UUID, *rest: Any) -> Receipt:
        try:
            return record(store, blobs, job_id, *rest)
        except StaleAttempt:
            where = (jobs.c.id == job_id, jobs.c.finished_at.is_not(None))
            values = {"status": JobStatus.QUEUED, "finished_at": None}
            store.queue._connection.execute(sa.update(jobs).where(*where).values(**values))
            return Receipt()

    return patch.object(leases, "record", reopening)


def _batches_are_stored_twice() -> Patch:
    return patch.object(Queue, "batch_stored", _nothing)


def _steps_are_counted_twice() -> Patch:
    """Those that are trained again after a loss."""
    add = Events.add

    def always_new(self: Events, event: Any) -> bool:
        add(self, event)
        return True

    return patch.object(Events, "add", always_new)


def _the_entry_outlives_its_job() -> Patch:
    remove = Queue.remove

    def unless_succeeded(self: Queue, job_id: UUID, now: datetime) -> None:
        query = sa.select(jobs.c.status).where(jobs.c.id == job_id)
        if self._connection.scalar(query) != JobStatus.SUCCEEDED:
            remove(self, job_id, now)

    return patch.object(Queue, "remove", unless_succeeded)


def _leases_are_short() -> Patch:
    return patch.object(leases, "LEASE_SECONDS", 20)


def _silence_counts_while_the_server_is_away() -> Patch:
    return patch.object(scheduling, "MAX_DEAF", timedelta(days=1))


def _the_silent_keep_their_jobs() -> Patch:
    return patch.object(scheduling, "requeue_expired", lambda *_: 0)


def _the_newest_checkpoint_is_passed_over() -> Patch:
    """An attempt goes on from the one before."""
    assign, every = scheduling._assign, Jobs.all_checkpoints

    def from_an_older(store: Any, leased: Any, now: datetime) -> Any:
        with patch.object(Jobs, "all_checkpoints", lambda self, id_: every(self, id_)[:-1]):
            return assign(store, leased, now)

    return patch.object(scheduling, "_assign", from_an_older)


def _a_pause_is_forgotten() -> Patch:
    """When its worker has let go of the job, it waits in the queue."""
    give_back = scheduling._give_back

    def anyhow(store: Any, job: Job, *rest: Any) -> None:
        give_back(store, replace(job, is_pause_wanted=False), *rest)

    replaced = Jobs.replace

    def unasked(self: Jobs, before: Job, after: Job) -> None:
        now = self.get_for_worker(before.id)
        replaced(self, replace(before, is_pause_wanted=now.is_pause_wanted), after)

    return _both(
        patch.object(scheduling, "_give_back", anyhow), patch.object(Jobs, "replace", unasked)
    )


def _use_is_forgotten() -> Patch:
    begin = Shares.begin

    def from_naught(self: Shares, owner: UUID, virtual_time: float, system_time: float) -> None:
        begin(self, owner, 0.0, system_time)

    return patch.object(Shares, "begin", from_naught)


def _success_comes_before_the_model() -> Patch:
    return patch.object(leases, "_add_results", lambda *_: _Nowhere())


class _Nowhere:
    id = UUID(int=0)


@contextmanager
def _both(one: Patch, other: Patch) -> Iterator[None]:
    with one, other:
        yield


MUTANTS: dict[str, Callable[[], Patch]] = {
    make.__name__.strip("_").replace("_", " "): make
    for make in (
        _fencing_is_off,
        _a_lease_is_renewed_after_its_end,
        _the_attempt_is_not_raised,
        _held_jobs_are_given_out,
        _backoff_is_ignored,
        _quotas_are_ignored,
        _the_day_has_no_end,
        _the_queue_has_no_quota,
        _priority_is_ignored,
        _what_has_ended_is_begun_again,
        _a_late_report_reopens,
        _batches_are_stored_twice,
        _steps_are_counted_twice,
        _the_entry_outlives_its_job,
        _leases_are_short,
        _silence_counts_while_the_server_is_away,
        _the_silent_keep_their_jobs,
        _the_newest_checkpoint_is_passed_over,
        _a_pause_is_forgotten,
        _use_is_forgotten,
        _success_comes_before_the_model,
    )
}
