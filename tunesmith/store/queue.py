"""The queue: which jobs want something done, and which worker is doing it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.assignments import RENEW_SECONDS, AskAgain, JobsWait, News, Registration
from tunesmith.domain.devices import Device
from tunesmith.domain.fair_share import Candidate
from tunesmith.domain.jobs import Job, Task
from tunesmith.store.queue_tables import fair_shares, queue, workers
from tunesmith.store.rows import Row
from tunesmith.store.tables import jobs, organizations

_SEEN_EVERY = timedelta(minutes=1)
_DEVICES = TypeAdapter(tuple[Device, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a job: the fencing token (job, attempt) and what is to be done."""

    job_id: UUID
    attempt: int
    task: Task
    batches_stored: int
    losses: int  # attempts that a worker reported as lost, since the last progress
    silences: int  # attempts whose worker fell silent, since then
    worker: str
    available_at: datetime  # since when it waited, before


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An entry that nobody is at work on, nor may be before `available_at`."""

    job_id: UUID
    candidate: Candidate
    available_at: datetime
    losses: int


class Queue:
    """`news` is what workers should hear once this transaction is committed."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self.news: set[News] = set()

    def push(self, job: Job, task: Task, now: datetime) -> None:
        self.news.add(JobsWait(jobs_wait=True))
        self._connection.execute(
            sa.insert(queue).values(
                job_id=job.id,
                task=task,
                available_at=now,
                organization_id=job.organization_id,
                base_model=job.host_of,
                priority=job.priority,
            )
        )

    def remove(self, job_id: UUID, now: datetime) -> None:
        self.news.add(JobsWait(jobs_wait=True))  # its owner may have more than may run at once
        self._charge(job_id, now)
        self._connection.execute(sa.delete(queue).where(queue.c.job_id == job_id))

    def ask_again(self, job_id: UUID) -> None:
        """Let who is at work on a job hear at once of what is wanted."""
        self.news.add(AskAgain(ask_again=job_id))

    def set_priority(self, job_id: UUID, priority: int) -> None:
        where = queue.c.job_id == job_id
        self._connection.execute(sa.update(queue).where(where).values(priority=priority))

    def register(self, registration: Registration, plain: dict[str, object], now: datetime) -> None:
        row = {"incarnation": registration.incarnation, "registration": plain, "seen_at": now}
        where = workers.c.name == registration.name
        if self._connection.execute(sa.update(workers).where(where).values(**row)).rowcount == 0:
            self._connection.execute(sa.insert(workers).values(name=registration.name, **row))

    def find_devices(self, worker: str) -> tuple[Device, ...]:
        """What a worker computes with, whenever it was here."""
        query = sa.select(workers.c.registration).where(workers.c.name == worker)
        return _devices(self._connection.scalar(query) or {})

    def count_workers(self, seen_since: datetime) -> int:
        where = workers.c.seen_at >= seen_since
        query = sa.select(sa.func.count()).select_from(workers).where(where)
        return self._connection.execute(query).scalar_one()

    def list_devices(self, seen_since: datetime) -> tuple[Device, ...]:
        """What the workers compute with that were here since then."""
        query = (
            sa.select(workers.c.registration)
            .where(workers.c.seen_at >= seen_since)
            .order_by(workers.c.name)
        )
        found = self._connection.scalars(query)
        return tuple(device for registration in found for device in _devices(registration))

    def seen(self, worker: str, now: datetime) -> None:
        """Written now and then alone: workers ask for something to do all the time."""
        where = (workers.c.name == worker, workers.c.seen_at < now - _SEEN_EVERY)
        self._connection.execute(sa.update(workers).where(*where).values(seen_at=now))

    def is_current(self, worker: str, incarnation: UUID) -> bool:
        where = (workers.c.name == worker, workers.c.incarnation == incarnation)
        return self._connection.scalar(sa.select(workers.c.name).where(*where)) is not None

    def has_waiting(self, now: datetime, tasks: Collection[Task]) -> bool:
        """Whether anything could be given out, quotas aside."""
        is_free = (queue.c.worker.is_(None), queue.c.available_at <= now)
        query = sa.select(queue.c.seq).where(*is_free, queue.c.task.in_(tasks)).limit(1)
        return self._connection.scalar(query) is not None

    def list_candidates(self, now: datetime, tasks: Collection[Task]) -> list[Candidate]:
        """The first of each organization's jobs, by task, priority and base model."""
        group = (queue.c.organization_id, queue.c.task, queue.c.priority, queue.c.base_model)
        query = (
            sa.select(
                *group,
                sa.func.min(queue.c.seq).label("seq"),
                sa.func.min(queue.c.passed_over_at).label("passed_over_at"),
            )
            .where(queue.c.worker.is_(None), queue.c.task.in_(tasks), queue.c.available_at <= now)
            .group_by(*group)
        )
        return [_candidate(row) for row in self._connection.execute(query).mappings()]

    def list_waiting(self) -> list[Waiting]:
        """Whoever is not at work, also those whose time has not come yet."""
        query = sa.select(queue).where(queue.c.worker.is_(None))
        return [
            Waiting(
                job_id=row["job_id"],
                candidate=_candidate(row),
                available_at=row["available_at"],
                losses=row["losses"] + row["silences"],
            )
            for row in self._connection.execute(query).mappings()
        ]

    def job_at(self, seq: int) -> UUID | None:
        return self._connection.scalar(sa.select(queue.c.job_id).where(queue.c.seq == seq))

    def passed_over(self, seq: int, now: datetime) -> None:
        """Note when it was first."""
        where = (queue.c.seq == seq, queue.c.passed_over_at.is_(None))
        self._connection.execute(sa.update(queue).where(*where).values(passed_over_at=now))

    def lease(
        self, job: Job, worker: str, incarnation: UUID, now: datetime, expires_at: datetime
    ) -> Lease | None:
        """Give a waiting entry to a worker, under a new attempt number; None if it waits no more.

        Whoever calls this holds the scheduler's lock (`Shares.lock`), and then the job's.
        """
        is_waiting = (queue.c.job_id == job.id, queue.c.worker.is_(None))
        taken = (
            sa.update(queue)
            .where(*is_waiting)
            .values(
                worker=worker,
                incarnation=incarnation,
                attempt=job.attempt + 1,
                leased_at=now,
                lease_expires_at=expires_at,
                batches_stored=0,
                passed_over_at=None,
            )
        )
        if self._connection.execute(taken).rowcount == 0:
            return None
        raised = sa.update(jobs).where(jobs.c.id == job.id).values(attempt=job.attempt + 1)
        self._connection.execute(raised)
        return self._lease(queue.c.job_id == job.id)[0]

    def renew(self, job_id: UUID, attempt: int, expires_at: datetime) -> Lease | None:
        """The lease with a later expiry; None where this attempt holds it no more.

        Little is gained by moving a young lease's expiry, and a commit that changes nothing is
        cheap.
        """
        where = self._held(job_id, attempt)
        is_old = queue.c.lease_expires_at <= expires_at - timedelta(seconds=RENEW_SECONDS)
        self._connection.execute(
            sa.update(queue).where(where, is_old).values(lease_expires_at=expires_at)
        )
        leases = self._lease(where)
        return leases[0] if leases else None

    def batch_stored(self, job_id: UUID, sequence: int) -> None:
        where = queue.c.job_id == job_id
        self._connection.execute(sa.update(queue).where(where).values(batches_stored=sequence))

    def progress_made(self, job_id: UUID) -> None:
        change = sa.update(queue).where(queue.c.job_id == job_id).values(losses=0, silences=0)
        self._connection.execute(change)

    def put_back(
        self,
        job_id: UUID,
        task: Task,
        now: datetime,
        *,
        wait: timedelta = timedelta(0),
        losses: int = 0,
        silences: int = 0,
    ) -> None:
        """End the lease, with the job waiting in its old place."""
        self.news.add(JobsWait(jobs_wait=True))
        self._charge(job_id, now)
        self._connection.execute(
            sa.update(queue)
            .where(queue.c.job_id == job_id)
            .values(
                task=task,
                worker=None,
                incarnation=None,
                leased_at=None,
                lease_expires_at=None,
                available_at=now + wait,
                losses=losses,
                silences=silences,
            )
        )

    def find_lease(self, job_id: UUID, attempt: int) -> Lease | None:
        """None where this attempt holds it no more."""
        leases = self._lease(self._held(job_id, attempt))
        return leases[0] if leases else None

    def list_expired(self, now: datetime) -> list[Lease]:
        return self._lease(queue.c.worker.is_not(None), queue.c.lease_expires_at < now)

    def list_held_by_others(self, worker: str, incarnation: UUID) -> list[Lease]:
        """Leases of the same worker's earlier incarnations."""
        return self._lease(queue.c.worker == worker, queue.c.incarnation != incarnation)

    def bound_leases(self, latest: datetime) -> None:
        """None ends later than one that begins now, as one would that began on a clock ahead."""
        beyond = (queue.c.worker.is_not(None), queue.c.lease_expires_at > latest)
        self._connection.execute(sa.update(queue).where(*beyond).values(lease_expires_at=latest))

    def begin_anew(self, now: datetime, expires_at: datetime, latest: datetime) -> None:
        """After a time in which nobody could renew, or a step of the clock.

        Every lease ends then and not before, and began now at the latest; whoever waits for
        a moment later than `latest` waits for that.
        """
        held = queue.c.worker.is_not(None)
        self._connection.execute(sa.update(queue).where(held).values(lease_expires_at=expires_at))
        ahead = (held, queue.c.leased_at > now)
        self._connection.execute(sa.update(queue).where(*ahead).values(leased_at=now))
        later = queue.c.available_at > latest
        self._connection.execute(sa.update(queue).where(later).values(available_at=latest))

    def _charge(self, job_id: UUID, now: datetime) -> None:
        """Add the lease's time, if there is one, to what its organization has had."""
        query = sa.select(queue.c.organization_id, queue.c.leased_at).where(
            queue.c.job_id == job_id, queue.c.worker.is_not(None)
        )
        for owner, leased_at in self._connection.execute(query).all():
            weight = (
                sa.select(organizations.c.weight)
                .where(organizations.c.id == owner)
                .scalar_subquery()
            )
            seconds = max(0.0, (now - leased_at).total_seconds())
            self._connection.execute(
                sa.update(fair_shares)
                .where(fair_shares.c.organization_id == owner)
                .values(virtual_time=fair_shares.c.virtual_time + seconds / weight)
            )

    def _held(self, job_id: UUID, attempt: int) -> sa.ColumnElement[bool]:
        return sa.and_(
            queue.c.job_id == job_id, queue.c.attempt == attempt, queue.c.worker.is_not(None)
        )

    def _lease(self, *where: sa.ColumnElement[bool]) -> list[Lease]:
        rows = self._connection.execute(sa.select(queue).where(*where)).mappings()
        return [
            Lease(
                job_id=row["job_id"],
                attempt=row["attempt"],
                task=Task(row["task"]),
                batches_stored=row["batches_stored"],
                losses=row["losses"],
                silences=row["silences"],
                worker=row["worker"],
                available_at=row["available_at"],
            )
            for row in rows
        ]


def _candidate(row: Row) -> Candidate:
    return Candidate(
        seq=row["seq"],
        organization_id=row["organization_id"],
        task=Task(row["task"]),
        priority=row["priority"],
        base_model=row["base_model"],
        passed_over_at=row["passed_over_at"],
    )


def _devices(registration: dict[str, Any]) -> tuple[Device, ...]:
    return _DEVICES.validate_python(registration.get("devices", ()))
