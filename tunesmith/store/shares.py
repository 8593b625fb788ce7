"""What the scheduler decides on: quotas, use, and the lock under which it decides."""

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.fair_share import Standing
from tunesmith.domain.jobs import JobStatus, Task
from tunesmith.domain.quotas import Quota, day_of
from tunesmith.store.queue_tables import fair_shares, queue, scheduler, trained_tokens
from tunesmith.store.rows import insert_or_else
from tunesmith.store.tables import EPOCH, files, jobs, organizations, upload_parts, uploads

_MICROSECONDS = 1e6
_QUOTA = (
    *("weight", "default_priority", "max_running_jobs"),
    *("max_queued_jobs", "max_stored_bytes", "max_tokens_per_day"),
)
_QUOTA_COLUMNS = tuple(organizations.c[name] for name in _QUOTA)


class Shares:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def lock(self) -> float:
        """Become the only one who places jobs, until the transaction ends; gives the virtual time.

        What is read afterwards has all that the one before has committed.
        """
        query = sa.select(scheduler.c.virtual_time).with_for_update()
        return float(self._connection.execute(query).scalar_one())

    def tokens_by_day(self, owner: UUID, first_day: int) -> dict[int, int]:
        """Of the days since 1970 on which the organization has trained."""
        query = sa.select(trained_tokens.c.day, trained_tokens.c.tokens).where(
            trained_tokens.c.organization_id == owner, trained_tokens.c.day >= first_day
        )
        return {day: tokens for day, tokens in self._connection.execute(query)}

    def find_time(self) -> float:
        """The virtual time, for who only looks."""
        return float(self._connection.execute(sa.select(scheduler.c.virtual_time)).scalar_one())

    def begin(self, owner: UUID, virtual_time: float, system_time: float) -> None:
        """Note when a lease of `owner` began, for it and for all."""
        self._connection.execute(
            insert_or_else(self._connection, fair_shares)
            .values(organization_id=owner, virtual_time=virtual_time)
            .on_conflict_do_update(
                index_elements=("organization_id",), set_={"virtual_time": virtual_time}
            )
        )
        self._connection.execute(sa.update(scheduler).values(virtual_time=system_time))

    def heard(self, now: datetime) -> datetime | None:
        """Note that a server is there to hear workers; gives when one was before."""
        query = sa.select(scheduler.c.heard_at).with_for_update()
        before: datetime | None = self._connection.execute(query).scalar_one()
        self._connection.execute(sa.update(scheduler).values(heard_at=now))
        return before

    def get_quota(self, organization_id: UUID) -> Quota:
        query = sa.select(*_QUOTA_COLUMNS).where(organizations.c.id == organization_id)
        return Quota(**self._connection.execute(query).mappings().one())

    def get_quota_to_keep(self, organization_id: UUID) -> Quota:
        """Whoever else counts against it waits until this transaction has ended."""
        query = sa.select(*_QUOTA_COLUMNS).where(organizations.c.id == organization_id)
        row = self._connection.execute(query.with_for_update(key_share=True)).mappings().one()
        return Quota(**row)

    def put_quota(self, organization_id: UUID, quota: Quota) -> None:
        row = {name: getattr(quota, name) for name in _QUOTA}
        where = organizations.c.id == organization_id
        self._connection.execute(sa.update(organizations).where(where).values(**row))

    def standings(self, owners: Collection[UUID], now: datetime) -> Mapping[UUID, Standing]:
        """Of each of these organizations."""
        leases = self._leases(now)
        today = sa.and_(
            trained_tokens.c.organization_id == organizations.c.id,
            trained_tokens.c.day == day_of(now),
        )
        query = (
            sa.select(
                organizations.c.id,
                sa.func.coalesce(fair_shares.c.virtual_time, 0.0).label("virtual_time"),
                sa.func.coalesce(trained_tokens.c.tokens, 0).label("tokens_today"),
                *_QUOTA_COLUMNS,
            )
            .outerjoin(fair_shares, fair_shares.c.organization_id == organizations.c.id)
            .outerjoin(trained_tokens, today)
            .where(organizations.c.id.in_(owners))
        )
        return {
            row["id"]: Standing(
                quota=Quota(**{name: row[name] for name in _QUOTA}),
                virtual_time=row["virtual_time"],
                tokens_today=row["tokens_today"],
                **leases.get(row["id"], {}),
            )
            for row in self._connection.execute(query).mappings()
        }

    def count_queued(self, owner: UUID) -> int:
        """Jobs that are read or wait; not those that run or are paused."""
        waiting = (JobStatus.VALIDATING, JobStatus.QUEUED)
        where = (jobs.c.organization_id == owner, jobs.c.status.in_(waiting))
        query = sa.select(sa.func.count()).select_from(jobs).where(*where)
        return self._connection.execute(query).scalar_one()

    def stored_bytes(self, owner: UUID) -> int:
        """Of files, and of the parts of uploads that wait for the rest; equal bytes count twice."""
        of_files = sa.select(sa.func.coalesce(sa.func.sum(files.c.size_bytes), 0)).where(
            files.c.organization_id == owner
        )
        of_parts = (
            sa.select(sa.func.coalesce(sa.func.sum(upload_parts.c.size_bytes), 0))
            .join(uploads, uploads.c.id == upload_parts.c.upload_id)
            .where(uploads.c.organization_id == owner)
        )
        return sum(int(self._connection.execute(q).scalar_one()) for q in (of_files, of_parts))

    def add_trained_tokens(self, owner: UUID, tokens: int, now: datetime) -> None:
        table = trained_tokens
        row = {"organization_id": owner, "day": day_of(now), "tokens": tokens}
        self._connection.execute(
            insert_or_else(self._connection, table)
            .values(**row)
            .on_conflict_do_update(
                index_elements=("organization_id", "day"),
                set_={"tokens": table.c.tokens + tokens},
            )
        )

    def _leases(self, now: datetime) -> dict[UUID, dict[str, Any]]:
        """What each organization has of the workers now."""
        elapsed = (now - EPOCH) // timedelta(microseconds=1) - sa.type_coerce(
            queue.c.leased_at, sa.BigInteger
        )
        query = (
            sa.select(
                queue.c.organization_id,
                sa.func.count(),
                sa.func.sum(sa.case((queue.c.task == Task.TRAIN, 1), else_=0)),
                sa.func.sum(elapsed),
            )
            .where(queue.c.worker.is_not(None))
            .group_by(queue.c.organization_id)
        )
        return {
            owner: {
                "num_leases": num_leases,
                "num_running_jobs": int(num_running),
                "lease_seconds": max(0.0, float(microseconds) / _MICROSECONDS),
            }
            for owner, num_leases, num_running, microseconds in self._connection.execute(query)
        }
