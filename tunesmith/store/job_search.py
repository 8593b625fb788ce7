"""What is asked of the list of jobs, in SQL."""

from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.jobs import JobOrder, JobSearch
from tunesmith.store.tables import jobs


def where(owner: UUID, wanted: JobSearch) -> sa.ColumnElement[bool]:
    conditions: list[sa.ColumnElement[bool]] = [jobs.c.organization_id == owner]
    if wanted.statuses is not None:
        conditions.append(jobs.c.status.in_(sorted(wanted.statuses)))
    if wanted.base_model is not None:
        conditions.append(jobs.c.base_model == wanted.base_model)
    if wanted.text is not None:
        conditions.append(jobs.c.search_text.contains(wanted.text.casefold(), autoescape=True))
    return sa.and_(*conditions)


def order(wanted: JobSearch) -> list[sa.ColumnElement[object]]:
    """What has no value comes last either way; ids decide between equals."""
    key = _key(wanted)
    return [(key.asc() if wanted.ascending else key.desc()).nulls_last(), jobs.c.id.asc()]


def _key(wanted: JobSearch) -> sa.ColumnElement[object]:
    if wanted.order is not JobOrder.STATUS:
        return jobs.c[wanted.order.value]
    ranks = {s.value: rank for rank, group in enumerate(wanted.statuses_in_order) for s in group}
    return sa.case(ranks, value=jobs.c.status)
