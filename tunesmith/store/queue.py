"""The queue: which jobs want something done, and which worker is doing it."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.assignments import RENEW_SECONDS, Registration
from tunesmith.domain.devices import Device
from tunesmith.domain.jobs import Task
from tunesmith.store.tables import jobs, queue, workers

_SEEN_EVERY = timedelta(minutes=1)
_DEVICES = TypeAdapter(tuple[Device, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to work on a job: the fencing token (job, attempt) and what is to be done."""

    job_id: UUID
    attempt: int
    task: Task
    batches_stored: int
    losses: int  # attempts lost since the last progress
    worker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Trainable:
    """Which jobs a worker can train: of `only` these base models (None: of any), of none of `but`.

    Entries from `below_seq` on are left for later, where it is set.
    """

    only: frozenset[str] | None = None
    but: frozenset[str] = frozenset()
    below_seq: int | None = None


class Queue:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def push(self, job_id: UUID, task: Task, now: datetime) -> None:
        row = {"job_id": job_id, "task": task, "available_at": now}
        self._connection.execute(sa.insert(queue).values(**row))

    def remove(self, job_id: UUID) -> None:
        self._connection.execute(sa.delete(queue).where(queue.c.job_id == job_id))

    def register(self, registration: Registration, plain: dict[str, object], now: datetime) -> None:
        row = {"incarnation": registration.incarnation, "registration": plain, "seen_at": now}
        where = workers.c.name == registration.name
        if self._connection.execute(sa.update(workers).where(where).values(**row)).rowcount == 0:
            self._connection.execute(sa.insert(workers).values(name=registration.name, **row))

    def find_devices(self, worker: str) -> tuple[Device, ...]:
        """What a worker computes with, whenever it was here."""
        query = sa.select(workers.c.registration).where(workers.c.name == worker)
        return _devices(self._connection.scalar(query) or {})

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

    def lease_next(
        self,
        worker: str,
        incarnation: UUID,
        now: datetime,
        expires_at: datetime,
        tasks: Collection[Task] = tuple(Task),
        trainable: Trainable = Trainable(),
    ) -> Lease | None:
        """Give the oldest entry that waits for one of these tasks to a worker that can do it.

        It comes under a new attempt number.
        """
        oldest = (
            sa.select(queue.c.seq)
            .where(queue.c.worker.is_(None), queue.c.available_at <= now)
            .where(queue.c.task.in_(tasks), _can_be_done(trainable))
            .order_by(queue.c.seq)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        seq = self._connection.scalar(oldest)
        if seq is None:
            return None
        job_id = self._connection.scalar(sa.select(queue.c.job_id).where(queue.c.seq == seq))
        attempt = self._connection.scalar(
            sa.update(jobs)
            .where(jobs.c.id == job_id)
            .values(attempt=jobs.c.attempt + 1)
            .returning(jobs.c.attempt)
        )
        self._connection.execute(
            sa.update(queue)
            .where(queue.c.seq == seq, queue.c.worker.is_(None))
            .values(
                worker=worker,
                incarnation=incarnation,
                attempt=attempt,
                lease_expires_at=expires_at,
                batches_stored=0,
            )
        )
        return self._lease(queue.c.seq == seq)[0]

    def find_passed_over(self, residents: Collection[str], since: datetime) -> int | None:
        """The oldest entry that has waited since then to be trained on another base model."""
        query = sa.select(sa.func.min(queue.c.seq)).where(
            queue.c.worker.is_(None),
            queue.c.available_at <= since,
            queue.c.task == Task.TRAIN,
            ~_is_on(residents),
        )
        first: int | None = self._connection.scalar(query)
        return first

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
        self._connection.execute(sa.update(queue).where(queue.c.job_id == job_id).values(losses=0))

    def put_back(
        self, job_id: UUID, task: Task, available_at: datetime, losses: int | None = None
    ) -> None:
        """End the lease, with the job waiting in its old place."""
        row: dict[str, object] = {
            "task": task,
            "worker": None,
            "incarnation": None,
            "lease_expires_at": None,
            "available_at": available_at,
        }
        if losses is not None:
            row["losses"] = losses
        self._connection.execute(sa.update(queue).where(queue.c.job_id == job_id).values(**row))

    def list_expired(self, now: datetime) -> list[Lease]:
        return self._lease(queue.c.worker.is_not(None), queue.c.lease_expires_at < now)

    def list_held_by_others(self, worker: str, incarnation: UUID) -> list[Lease]:
        """Leases of the same worker's earlier incarnations."""
        return self._lease(queue.c.worker == worker, queue.c.incarnation != incarnation)

    def extend_all(self, expires_at: datetime) -> None:
        """After a server restart, during which nobody could renew."""
        self._connection.execute(
            sa.update(queue).where(queue.c.worker.is_not(None)).values(lease_expires_at=expires_at)
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
                worker=row["worker"],
            )
            for row in rows
        ]


def _is_on(base_models: Collection[str]) -> sa.ColumnElement[bool]:
    named = sa.select(jobs.c.id).where(jobs.c.base_model.in_(base_models))
    return queue.c.job_id.in_(named)


def _can_be_done(trainable: Trainable) -> sa.ColumnElement[bool]:
    """Data can be checked anywhere."""
    can_train: list[sa.ColumnElement[bool]] = [sa.true()]
    if trainable.only is not None:
        can_train.append(_is_on(trainable.only))
    if trainable.but:
        can_train.append(~_is_on(trainable.but))
    if trainable.below_seq is not None:
        can_train.append(queue.c.seq < trainable.below_seq)
    return sa.or_(queue.c.task != Task.TRAIN, sa.and_(*can_train))


def _devices(registration: dict[str, Any]) -> tuple[Device, ...]:
    return _DEVICES.validate_python(registration.get("devices", ()))
