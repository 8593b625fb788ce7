"""Rows and pages: what the tables' modules share."""

from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

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


def is_only(
    connection: sa.Connection, scope: sa.Column[UUID], value: UUID
) -> sa.ColumnElement[bool]:
    """Equality, said as a range to PostgreSQL.

    Ordered by the scope, too, it then reads the index that begins with it. Of a scope with many
    rows it would rather read the whole table from the newest on, and find none for long. SQLite
    would not go to a cursor's place within the range, and reads the index anyway.
    """
    if connection.dialect.name == "sqlite":
        return scope == value
    return sa.and_(scope >= value, scope <= value)


def select_page(
    connection: sa.Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    request: PageRequest,
    read: Callable[[Row], Item],
    *,
    scope: sa.Column[UUID] | None = None,
    source: sa.FromClause | None = None,
    place: sa.Column[int] | None = None,
) -> Page[Item]:
    """Rows in the order of `seq`; raises `NotFound` where `after` is none of them.

    `scope` leads the index that has the order, and `where` asks for one value of it by `is_only`.
    A filter by another table joins it in `source`, and `place` is that table's copy of `seq`.
    """
    place = table.c.seq if place is None else place
    rows_of = sa.select(table).select_from(table if source is None else source).where(where)
    query = rows_of.limit(request.limit + 1)
    if request.after is not None:
        known = rows_of.with_only_columns(table.c.seq).where(table.c.id == request.after)
        cursor = connection.scalar(known)
        if cursor is None:
            raise NotFound("item", str(request.after), param="after")
        query = query.where(place > cursor if request.ascending else place < cursor)
    order: list[sa.Column[Any]] = [place] if scope is None else [scope, place]
    query = query.order_by(*(c.asc() if request.ascending else c.desc() for c in order))
    rows = connection.execute(query).mappings().all()
    items = tuple(read(row) for row in rows[: request.limit])
    return Page(items=items, has_more=len(rows) > request.limit)
