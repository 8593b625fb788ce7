"""What finished jobs have left behind that nobody needs."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.jobs import JobStatus
from tunesmith.store.tables import (
    checkpoint_permissions,
    checkpoints,
    deployments,
    events,
    jobs,
    registered_adapters,
    tuned_models,
)

_FINAL = tuple(status for status in JobStatus if status.is_final)


class Retention:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def old_checkpoints(
        self, finished_before: datetime, kept: int, limit: int
    ) -> list[tuple[UUID, UUID, int]]:
        """Job, checkpoint and bytes: all but the last of each job, and none that is needed.

        Needed is the job's own model, and what is deployed, registered or shared.
        """
        newer = sa.func.row_number().over(
            partition_by=checkpoints.c.job_id, order_by=checkpoints.c.step.desc()
        )
        ranked = (
            sa.select(checkpoints, newer.label("newer"))
            .join(jobs, jobs.c.id == checkpoints.c.job_id)
            .where(jobs.c.status.in_(_FINAL), jobs.c.finished_at < finished_before)
            .subquery()
        )
        model = tuned_models.c.short_id == ranked.c.tuned_model_short_id
        needed = sa.or_(
            tuned_models.c.step.is_(None),
            *(
                sa.exists().where(table.c.model_id == tuned_models.c.id)
                for table in (deployments, registered_adapters, checkpoint_permissions)
            ),
        )
        query = (
            sa.select(ranked.c.job_id, ranked.c.id, ranked.c.artifacts)
            .where(ranked.c.newer > kept, ~sa.exists().where(model, needed))
            .limit(limit)
        )
        return [
            (job_id, checkpoint_id, sum(each["blob"]["size_bytes"] for each in artifacts))
            for job_id, checkpoint_id, artifacts in self._connection.execute(query)
        ]

    def delete_checkpoint(self, checkpoint_id: UUID) -> None:
        """With the model that it is."""
        of_it = checkpoints.c.id == checkpoint_id
        name = sa.select(checkpoints.c.tuned_model_short_id).where(of_it).scalar_subquery()
        self._connection.execute(sa.delete(tuned_models).where(tuned_models.c.short_id == name))
        self._connection.execute(sa.delete(checkpoints).where(of_it))

    def count_old_events(self, finished_before: datetime) -> int:
        query = sa.select(sa.func.count()).where(self._of_old_jobs(finished_before))
        return int(self._connection.execute(query).scalar_one())

    def delete_old_events(self, finished_before: datetime, limit: int) -> int:
        some = sa.select(events.c.seq).where(self._of_old_jobs(finished_before)).limit(limit)
        gone = self._connection.execute(sa.delete(events).where(events.c.seq.in_(some)))
        return gone.rowcount

    def _of_old_jobs(self, finished_before: datetime) -> sa.ColumnElement[bool]:
        old = sa.select(jobs.c.id).where(
            jobs.c.status.in_(_FINAL), jobs.c.finished_at < finished_before
        )
        return events.c.job_id.in_(old)
