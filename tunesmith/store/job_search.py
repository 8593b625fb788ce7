"""Lists of jobs, filtered, sorted and counted at a cost that hardly grows with their number.

What a list asks for decides how it is read. Few jobs are gathered by their filters and sorted; of
many, an index is walked that has the order already, and those that do not fit are passed over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.errors import NotFound
from tunesmith.domain.jobs import JobOrder, JobSearch, JobStatus
from tunesmith.store.derived import job_counts
from tunesmith.store.rows import Row
from tunesmith.store.tables import jobs

FEW = 1000  # rows that are gathered and sorted rather than walked; texts are counted so far
_TRIGRAM = 3  # letters that a text must have for SQLite to find it without reading all
_jobs_text = sa.table("jobs_text", sa.column("rowid"), sa.column("search_text"))
_Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stretch:
    """A part of the list within which one index has the order: by `key`, if any, then by id.

    Jobs without a start come after all that have one; jobs sorted by status, status by status.
    """

    where: _Condition
    key: sa.Column[Any] | None
    size: int | None = None  # where it is known

    def columns(self) -> list[sa.Column[Any]]:
        return [jobs.c.id] if self.key is None else [self.key, jobs.c.id]


class JobLists:
    """The jobs of one owner, as one search wants them."""

    def __init__(self, connection: sa.Connection, owner: UUID, wanted: JobSearch) -> None:
        self._connection = connection
        self._owner = owner
        self._wanted = wanted
        if connection.dialect.name == "postgresql":
            # It would soon plan once for all texts and states, the rare and the common alike.
            connection.execute(sa.text("SET LOCAL plan_cache_mode = force_custom_plan"))
        self._counts = _Counts(connection, owner, wanted)
        self._finds_by_parts = self._is_rare_text()
        self._num_up_to_few = self._num_matching(FEW + 1)
        self._gathers = self._num_up_to_few <= FEW and not self._has_index()

    def rows(self) -> Sequence[Row]:
        """The wanted part of the list; raises `NotFound` where `after` is no job of the owner's."""
        skipped, found = self._wanted.offset, list[Row]()
        stretches = self._stretches()
        if self._wanted.after is not None:
            skipped, stretches = 0, self._after(self._wanted.after, stretches)
        for stretch in stretches:
            if stretch.size is not None and stretch.size <= skipped:
                skipped -= stretch.size
                continue
            limit = self._wanted.limit - len(found)
            rows = self._walk(stretch, skipped, limit)
            found += rows
            if len(found) == self._wanted.limit:
                break
            skipped = 0 if rows or not skipped else skipped - self._count(self._ids(stretch))
        return found

    def count(self, num_found: int) -> int:
        """How many jobs fit, by page or not.

        Where a text fits more than `FEW`, at least so many: more than any page has reached yet for
        as long as there are more, so that whoever turns pages until there are no more sees them
        all.
        """
        if self._wanted.text is None:
            return self._counts.total
        reached = self._wanted.offset + num_found
        if reached <= FEW:
            return self._num_up_to_few
        return max(reached, self._num_matching(reached + 1))

    def _is_rare_text(self) -> bool:
        """SQLite finds all that has a text before it looks at the first: good where that is few."""
        text = self._wanted.text
        if self._connection.dialect.name != "sqlite" or text is None or len(text) < _TRIGRAM:
            return False
        return self._count(_with_parts(text).limit(FEW + 1)) <= FEW

    def _has_index(self) -> bool:
        """Whether one index has both what is filtered and the order, so that nothing is sorted."""
        wanted = self._wanted
        num_filters = (wanted.statuses is not None) + (wanted.base_model is not None)
        if wanted.text is not None:
            return False
        is_one = wanted.statuses is None or len(wanted.statuses) == 1
        return num_filters == 0 or (num_filters == 1 and is_one and wanted.order is _INDEXED)

    def _num_matching(self, limit: int) -> int:
        if self._wanted.text is None:
            return min(limit, self._counts.total)
        return self._count(self._fitting().limit(limit))

    def _count(self, ids: sa.Select[Any]) -> int:
        query = sa.select(sa.func.count()).select_from(ids.subquery())
        return int(self._connection.execute(query).scalar_one())

    def _fitting(self) -> sa.Select[Any]:
        """What fits, found by its filters and in no order."""
        where = (jobs.c.organization_id == self._owner, self._filters(by_text=True))
        return sa.select(jobs.c.seq).where(*where)

    def _ids(self, stretch: _Stretch) -> sa.Select[Any]:
        """Those of a stretch: of the few that fit, or of all that an index has in this order."""
        if self._gathers:
            few = self._fitting().limit(FEW)  # a limit, so that they are gathered first
            return sa.select(jobs.c.id).where(jobs.c.seq.in_(few), stretch.where)
        return sa.select(jobs.c.id).where(jobs.c.organization_id == self._owner, stretch.where)

    def _walk(self, stretch: _Stretch, offset: int, limit: int) -> Sequence[Row]:
        """First the ids alone, which the index has, then the rows of those that are wanted."""
        order = [c.asc() if self._wanted.ascending else c.desc() for c in stretch.columns()]
        ids = self._ids(stretch).order_by(*order).offset(offset).limit(limit)
        query = sa.select(jobs).where(jobs.c.id.in_(ids)).order_by(*order)
        return self._connection.execute(query).mappings().all()

    def _stretches(self) -> list[_Stretch]:
        order = self._wanted.order
        if order is JobOrder.STATUS:
            return self._by_status()
        key = jobs.c[order.value]
        # An index by filter and creation serves both; the others are walked past what is filtered.
        filters = sa.true() if self._gathers else self._filters(walks=order is not _INDEXED)
        if not key.nullable:
            return [_Stretch(where=filters, key=key)]
        return [
            _Stretch(where=sa.and_(filters, key.is_not(None)), key=key),
            _Stretch(where=sa.and_(filters, key.is_(None)), key=None),
        ]

    def _by_status(self) -> list[_Stretch]:
        groups = [sorted(group) for group in self._wanted.statuses_in_order]
        if not self._wanted.ascending:
            groups.reverse()
        filters = sa.true() if self._gathers else self._filters(walks=True, by_status=False)
        return [
            _Stretch(
                where=sa.and_(jobs.c.status == status, filters),
                key=None,
                size=self._counts.of(status) if self._wanted.text is None else None,
            )
            for group in groups
            for status in group
            if self._wanted.statuses is None or status in self._wanted.statuses
        ]

    def _filters(
        self, *, walks: bool = False, by_text: bool = False, by_status: bool = True
    ) -> _Condition:
        """`walks` keeps SQLite from choosing an index of what is filtered over that of the order.
        PostgreSQL knows how common each value is, and chooses well.

        `by_text` finds texts in an index of their parts; otherwise each is looked at.
        """
        wanted = self._wanted
        conditions: list[_Condition] = []
        walks = walks and self._connection.dialect.name == "sqlite"
        status = _unindexed(jobs.c.status) if walks else jobs.c.status
        base_model = _unindexed(jobs.c.base_model) if walks else jobs.c.base_model
        if wanted.statuses is not None and by_status:
            names = sorted(wanted.statuses)
            conditions.append(status == names[0] if len(names) == 1 else status.in_(names))
        if wanted.base_model is not None:
            conditions.append(base_model == wanted.base_model)
        if wanted.text is not None:
            conditions.append(self._has_text(wanted.text.casefold(), by_text))
        return sa.and_(sa.true(), *conditions)

    def _has_text(self, text: str, by_parts: bool) -> _Condition:
        if by_parts and self._finds_by_parts:
            return jobs.c.seq.in_(_with_parts(text))
        return jobs.c.search_text.contains(text, autoescape=True)

    def _after(self, last: UUID, stretches: Sequence[_Stretch]) -> list[_Stretch]:
        """What follows a job in the list."""
        own = (jobs.c.id == last, jobs.c.organization_id == self._owner)
        row = self._connection.execute(sa.select(jobs).where(*own)).mappings().one_or_none()
        if row is None:
            raise NotFound("job", str(last), param="after")
        for place, stretch in enumerate(stretches):
            within = sa.select(jobs.c.seq).where(*own, stretch.where)
            if self._connection.scalar(within) is not None:
                columns = stretch.columns()
                seen = sa.tuple_(*(sa.literal(row[c.name], c.type) for c in columns))
                here = sa.tuple_(*columns)
                beyond = here > seen if self._wanted.ascending else here < seen
                rest = _Stretch(where=sa.and_(stretch.where, beyond), key=stretch.key)
                return [rest, *stretches[place + 1 :]]
        raise NotFound("job", str(last), param="after")


_INDEXED = JobOrder.CREATED_AT


class _Counts:
    """How many jobs there are of each status, of the base model that is wanted."""

    def __init__(self, connection: sa.Connection, owner: UUID, wanted: JobSearch) -> None:
        self._of_status = count_by_status(connection, owner, wanted.base_model)
        self._statuses = frozenset(JobStatus) if wanted.statuses is None else wanted.statuses

    @property
    def total(self) -> int:
        return sum(self.of(status) for status in self._statuses)

    def of(self, status: JobStatus) -> int:
        return self._of_status.get(status, 0)


def count_by_status(
    connection: sa.Connection, owner: UUID, base_model: str | None = None
) -> dict[JobStatus, int]:
    """Of those states alone in which there are any."""
    query = (
        sa.select(job_counts.c.status, sa.func.sum(job_counts.c.count))
        .where(job_counts.c.organization_id == owner, job_counts.c.count > 0)
        .group_by(job_counts.c.status)
    )
    if base_model is not None:
        query = query.where(job_counts.c.base_model == base_model)
    return {JobStatus(status): int(count) for status, count in connection.execute(query)}


def _with_parts(text: str) -> sa.Select[Any]:
    """Of SQLite's index of parts, the jobs of whatever owner that have the text."""
    phrase = '"' + text.casefold().replace('"', '""') + '"'
    return sa.select(_jobs_text.c.rowid).where(sa.literal_column("jobs_text").op("MATCH")(phrase))


def _unindexed(column: sa.Column[Any]) -> sa.ColumnElement[Any]:
    return column.concat("")
