"""How far the integrations of jobs have been told of their figures."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.integrations import IntegrationRun
from tunesmith.store.outbox_tables import integration_runs as runs
from tunesmith.store.rows import Row


class Integrations:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, run: IntegrationRun) -> None:
        values = {"job_id": run.job_id, "position": run.position, "attempts": run.attempts}
        self._connection.execute(sa.insert(runs).values(**values, **_state(run)))

    def has_due(self, now: datetime) -> bool:
        """Whether `claim` is worth a transaction that writes."""
        query = sa.select(runs.c.seq).where(_is_due(now)).limit(1)
        return self._connection.scalar(query) is not None

    def claim(
        self, now: datetime, claimed_until: datetime, limit: int
    ) -> tuple[IntegrationRun, ...]:
        """Those that have waited longest, for one caller alone until then."""
        oldest = (
            sa.select(runs.c.seq).where(_is_due(now)).order_by(runs.c.available_at).limit(limit)
        )
        claimed = [
            seq
            for seq in self._connection.scalars(oldest).all()
            if self._connection.execute(
                sa.update(runs)
                .where(runs.c.seq == seq, _is_due(now))
                .values(claimed_until=claimed_until, attempts=runs.c.attempts + 1)
            ).rowcount
        ]
        query = sa.select(runs).where(runs.c.seq.in_(claimed)).order_by(runs.c.available_at)
        return tuple(_run(row) for row in self._connection.execute(query).mappings())

    def delete_all(self, job_id: UUID) -> None:
        self._connection.execute(sa.delete(runs).where(runs.c.job_id == job_id))

    def settle(self, run: IntegrationRun) -> bool:
        """Write how it stands and end the claim; False where another has been made since."""
        where = (
            runs.c.job_id == run.job_id,
            runs.c.position == run.position,
            runs.c.attempts == run.attempts,
        )
        changed = sa.update(runs).where(*where).values(claimed_until=None, **_state(run))
        return self._connection.execute(changed).rowcount == 1


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        runs.c.available_at <= now,
        sa.or_(runs.c.claimed_until.is_(None), runs.c.claimed_until <= now),
    )


def _state(run: IntegrationRun) -> dict[str, object]:
    return {
        "available_at": run.available_at,
        "logged_step": run.logged_step,
        "misses": run.misses,
        "failing_since": run.failing_since,
        "is_warned": run.is_warned,
    }


def _run(row: Row) -> IntegrationRun:
    return IntegrationRun(
        job_id=row["job_id"],
        position=row["position"],
        available_at=row["available_at"],
        logged_step=row["logged_step"],
        attempts=row["attempts"],
        misses=row["misses"],
        failing_since=row["failing_since"],
        is_warned=row["is_warned"],
    )
