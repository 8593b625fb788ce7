"""What happened to jobs."""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.paging import Page, PageRequest
from tunesmith.store.rows import Row, is_only, select_page
from tunesmith.store.tables import EPOCH, events, is_milestone, jobs


class Events:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, event: Event) -> bool:
        """Whether it is new: a step that is trained again after a resume keeps its one place."""
        if event.step is not None:
            again = sa.update(events).where(
                events.c.job_id == event.job_id, events.c.step == event.step
            )
            if self._connection.execute(again.values(data=event.data)).rowcount:
                return False
        logged_ms = self._next_moment(event)
        self._connection.execute(
            sa.insert(events).values(
                id=event.id,
                job_id=event.job_id,
                created_at=event.created_at,
                kind=event.kind,
                level=event.level,
                step=event.step,
                logged_ms=logged_ms,
                data=event.data,
            )
        )
        return True

    def list_page(self, job_id: UUID, request: PageRequest) -> Page[Event]:
        scope = events.c.job_id
        where = is_only(self._connection, scope, job_id)
        return select_page(self._connection, events, where, request, _event, scope=scope)

    def list_log(
        self, job_id: UUID, kinds: Collection[EventKind], after: datetime | None, limit: int
    ) -> list[Event]:
        """Oldest first: those after a moment, or the last ones."""
        query = sa.select(events).where(events.c.job_id == job_id, events.c.kind.in_(kinds))
        if after is None:
            newest = query.order_by(events.c.logged_ms.desc()).limit(limit)
            return [_event(row) for row in self._connection.execute(newest).mappings()][::-1]
        query = query.where(events.c.logged_ms > _milliseconds(after))
        query = query.order_by(events.c.logged_ms).limit(limit)
        return [_event(row) for row in self._connection.execute(query).mappings()]

    def has(self, job_id: UUID, kind: EventKind) -> bool:
        """Of what is no step, since the job began, or was last begun anew."""
        begun_anew = (
            sa.select(sa.func.max(events.c.seq))
            .where(events.c.job_id == job_id, events.c.kind == EventKind.RESTARTED, is_milestone)
            .scalar_subquery()
        )
        where = (events.c.job_id == job_id, events.c.kind == kind, is_milestone)
        since = events.c.seq > sa.func.coalesce(begun_anew, 0)
        query = sa.select(events.c.seq).where(*where, since).limit(1)
        return self._connection.scalar(query) is not None

    def retire_steps(self, job_id: UUID) -> None:
        """They stay in the log; the figures of the job are those of steps to come."""
        where = (events.c.job_id == job_id, events.c.step.is_not(None))
        self._connection.execute(sa.update(events).where(*where).values(step=None))

    def delete_all(self, job_id: UUID) -> None:
        self._connection.execute(sa.delete(events).where(events.c.job_id == job_id))

    def first_data(self, job_id: UUID, kind: EventKind) -> dict[str, Any]:
        """What the first event of this kind, which is no step, says; empty where there is none."""
        where = (events.c.job_id == job_id, events.c.kind == kind, is_milestone)
        query = sa.select(events.c.data).where(*where).order_by(events.c.seq).limit(1)
        return self._connection.scalar(query) or {}

    def metrics_of_step(self, job_id: UUID, step: int) -> dict[str, Any] | None:
        query = sa.select(events.c.data).where(events.c.job_id == job_id, events.c.step == step)
        return self._connection.scalar(query)

    def newest_metrics(self, job_id: UUID) -> dict[str, Any] | None:
        """Of the last step that was told."""
        query = (
            sa.select(events.c.data)
            .where(events.c.job_id == job_id, events.c.step.is_not(None))
            .order_by(events.c.step.desc())
            .limit(1)
        )
        return self._connection.scalar(query)

    def list_metrics(self, job_id: UUID) -> list[dict[str, Any]]:
        """Every step's figures, in order."""
        query = (
            sa.select(events.c.data)
            .where(events.c.job_id == job_id, events.c.step.is_not(None))
            .order_by(events.c.step)
        )
        return list(self._connection.scalars(query))

    def list_metrics_thinned(self, job_id: UUID, max_points: int) -> list[dict[str, Any]]:
        """Figures of so many steps at most, evenly apart and in order, the last among them."""
        ends = sa.select(events.c.step).where(events.c.job_id == job_id, events.c.step.is_not(None))
        first = self._connection.scalar(ends.order_by(events.c.step).limit(1))
        last = self._connection.scalar(ends.order_by(events.c.step.desc()).limit(1))
        if first is None or last - first < max_points:
            return self.list_metrics(job_id)
        span = last - first + 1
        steps = [first + (i + 1) * span // max_points - 1 for i in range(max_points)]
        query = (
            sa.select(events.c.data)
            .where(events.c.job_id == job_id, events.c.step.in_(steps))
            .order_by(events.c.step)
        )
        return list(self._connection.scalars(query))

    def list_metrics_after(self, job_id: UUID, step: int, limit: int) -> list[dict[str, Any]]:
        """The figures of the steps that follow, in order."""
        query = (
            sa.select(events.c.data)
            .where(events.c.job_id == job_id, events.c.step > step)
            .order_by(events.c.step)
            .limit(limit)
        )
        return list(self._connection.scalars(query))

    def _next_moment(self, event: Event) -> int:
        """Later than all that the job has told, so that readers can go on from the last they saw.

        The job's row stays locked until the end of the transaction: nothing earlier can follow.
        """
        now = _milliseconds(event.created_at)
        later = sa.case((jobs.c.logged_ms >= now, jobs.c.logged_ms + 1), else_=now)
        moment = self._connection.scalar(
            sa.update(jobs)
            .where(jobs.c.id == event.job_id)
            .values(logged_ms=later, updated_at=event.created_at)
            .returning(jobs.c.logged_ms)
        )
        return now if moment is None else int(moment)


def _milliseconds(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        job_id=row["job_id"],
        created_at=row["created_at"],
        kind=EventKind(row["kind"]),
        level=Level(row["level"]),
        step=row["step"],
        logged_ms=row["logged_ms"],
        data=row["data"],
    )
