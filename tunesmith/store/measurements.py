"""What training took on this installation: averages in which newer jobs count for more."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.store.derived import example_lengths, throughputs

_NEWEST_SHARE = 0.3  # of an average that the newest job makes up


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """Of a base model on a device. `startup_seconds` is None where no job has told it."""

    device: str
    tokens_per_second: float
    startup_seconds: float | None


class Measurements:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_throughput(self, base_model: str, measured: Throughput, now: datetime) -> None:
        t = throughputs.c
        self._blend(
            throughputs,
            {t.base_model: base_model, t.device: measured.device},
            {
                t.tokens_per_second: measured.tokens_per_second,
                t.startup_seconds: measured.startup_seconds,
            },
            now,
        )

    def list_throughputs(self, base_model: str) -> tuple[Throughput, ...]:
        """By device, the fastest first."""
        query = (
            sa.select(throughputs)
            .where(throughputs.c.base_model == base_model)
            .order_by(throughputs.c.tokens_per_second.desc())
        )
        return tuple(
            Throughput(
                device=row["device"],
                tokens_per_second=row["tokens_per_second"],
                startup_seconds=row["startup_seconds"],
            )
            for row in self._connection.execute(query).mappings()
        )

    def forget_throughputs(self, base_model: str) -> None:
        where = throughputs.c.base_model == base_model
        self._connection.execute(sa.delete(throughputs).where(where))

    def add_example_length(self, owner: UUID, tokens_per_example: float, now: datetime) -> None:
        e = example_lengths.c
        self._blend(
            example_lengths,
            {e.organization_id: owner},
            {e.tokens_per_example: tokens_per_example},
            now,
        )

    def find_example_length(self, owner: UUID) -> float | None:
        """Mean tokens per example of this organization's jobs, else of all organizations'."""
        own = sa.select(example_lengths.c.tokens_per_example).where(
            example_lengths.c.organization_id == owner
        )
        everybodys = sa.select(sa.func.avg(example_lengths.c.tokens_per_example))
        found = self._connection.scalar(own)
        return found if found is not None else self._connection.scalar(everybodys)

    def _blend(
        self,
        table: sa.Table,
        key: dict[sa.Column[Any], Any],
        figures: dict[sa.Column[Any], float | None],
        now: datetime,
    ) -> None:
        """A figure that was not measured leaves the average as it was."""
        told = {column: value for column, value in figures.items() if value is not None}
        blended = {
            column: sa.func.coalesce(column * (1 - _NEWEST_SHARE) + value * _NEWEST_SHARE, value)
            for column, value in told.items()
        }
        counted = {table.c.num_jobs: table.c.num_jobs + 1, table.c.updated_at: now}
        where = [column == value for column, value in key.items()]
        again = sa.update(table).where(*where).values({**blended, **counted})
        if self._connection.execute(again).rowcount:
            return
        row = {**key, **told, table.c.num_jobs: 1, table.c.updated_at: now}
        try:
            with self._connection.begin_nested():
                self._connection.execute(sa.insert(table).values(row))
        except sa.exc.IntegrityError:  # the first job of another worker has just finished, too
            self._connection.execute(again)
