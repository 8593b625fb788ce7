"""What happened to jobs."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.paging import Page, PageRequest
from tunesmith.store.rows import Row, select_page
from tunesmith.store.tables import events


class Events:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, event: Event) -> None:
        """A step that is trained again after a resume keeps its one place in the list."""
        if event.step is not None:
            again = sa.update(events).where(
                events.c.job_id == event.job_id, events.c.step == event.step
            )
            if self._connection.execute(again.values(data=event.data)).rowcount:
                return
        self._connection.execute(
            sa.insert(events).values(
                id=event.id,
                job_id=event.job_id,
                created_at=event.created_at,
                kind=event.kind,
                level=event.level,
                step=event.step,
                data=event.data,
            )
        )

    def list_page(self, job_id: UUID, request: PageRequest) -> Page[Event]:
        return select_page(self._connection, events, events.c.job_id == job_id, request, _event)

    def has(self, job_id: UUID, kind: EventKind) -> bool:
        where = (events.c.job_id == job_id, events.c.kind == kind)
        return self._connection.scalar(sa.select(events.c.seq).where(*where).limit(1)) is not None

    def first_data(self, job_id: UUID, kind: EventKind) -> dict[str, Any]:
        """What the first event of this kind says; empty where there is none."""
        where = (events.c.job_id == job_id, events.c.kind == kind)
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

    def list_metrics_after(self, job_id: UUID, step: int, limit: int) -> list[dict[str, Any]]:
        """The figures of the steps that follow, in order."""
        query = (
            sa.select(events.c.data)
            .where(events.c.job_id == job_id, events.c.step > step)
            .order_by(events.c.step)
            .limit(limit)
        )
        return list(self._connection.scalars(query))


def _event(row: Row) -> Event:
    return Event(
        id=row["id"],
        job_id=row["job_id"],
        created_at=row["created_at"],
        kind=EventKind(row["kind"]),
        level=Level(row["level"]),
        step=row["step"],
        data=row["data"],
    )
