"""Rows and pages: what the tables' modules share."""

from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql, sqlite

from tunesmith.domain.errors import NotFound
from tunesmith.domain.paging import Page, PageRequest

Item = TypeVar("Item")
Row = sa.RowMapping


def plain(adapter: TypeAdapter[Any], value: Any) -> Any:
    """A domain value as JSON columns hold it."""
    return adapter.dump_python(value, mode="json")


def insert_or_else(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that may say what is done where the row is there already (`on_conflict_…`)."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def select_page(
    connection: sa.Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    request: PageRequest,
    read: Callable[[Row], Item],
) -> Page[Item]:
    """Rows in the order of `seq`; raises `NotFound` where `after` is none of them."""
    query = sa.select(table).where(where).limit(request.limit + 1)
    if request.after is not None:
        cursor = connection.scalar(sa.select(table.c.seq).where(where, table.c.id == request.after))
        if cursor is None:
            raise NotFound("item", str(request.after), param="after")
        later = table.c.seq > cursor if request.ascending else table.c.seq < cursor
        query = query.where(later)
    query = query.order_by(table.c.seq.asc() if request.ascending else table.c.seq.desc())
    rows = connection.execute(query).mappings().all()
    items = tuple(read(row) for row in rows[: request.limit])
    return Page(items=items, has_more=len(rows) > request.limit)
