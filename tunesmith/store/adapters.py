"""Registered adapters."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.adapters import AdapterFile, RegisteredAdapter
from tunesmith.domain.errors import Conflict
from tunesmith.store.rows import Row, plain
from tunesmith.store.tables import registered_adapters

_ANSWERS = registered_adapters.c.model_id.is_not(None)
_FILES = TypeAdapter(tuple[AdapterFile, ...])
_ORDERS = {
    "id": registered_adapters.c.id,
    "name": registered_adapters.c.name,
    "base_model": registered_adapters.c.base_model_as_given,
    "created_at": registered_adapters.c.seq,
    "modified_at": registered_adapters.c.modified_at,
}


class Adapters:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, adapter: RegisteredAdapter) -> None:
        self._connection.execute(sa.insert(registered_adapters).values(**_columns(adapter)))

    def replace(self, before: RegisteredAdapter, after: RegisteredAdapter) -> None:
        """Write `after` if the row is still as `before` says."""
        where = (
            registered_adapters.c.id == before.id,
            registered_adapters.c.modified_at == before.modified_at,
        )
        changed = sa.update(registered_adapters).where(*where).values(**_columns(after))
        if self._connection.execute(changed).rowcount == 0:
            raise Conflict("The adapter has changed in the meantime; read it again.")

    def delete(self, adapter_id: UUID) -> None:
        where = registered_adapters.c.id == adapter_id
        self._connection.execute(sa.delete(registered_adapters).where(where))

    def settle(self, job_id: UUID, model_id: UUID, now: datetime) -> None:
        """The job has made what the adapter, if there is one, was to be."""
        made = sa.update(registered_adapters).where(registered_adapters.c.job_id == job_id)
        self._connection.execute(made.values(model_id=model_id, modified_at=now))

    def find(self, adapter_id: UUID, owner: UUID) -> RegisteredAdapter | None:
        return self._find(registered_adapters.c.id == adapter_id, owner)

    def find_of_model(self, model_id: UUID, owner: UUID) -> RegisteredAdapter | None:
        return self._find(registered_adapters.c.model_id == model_id, owner)

    def find_by_name(self, name: str, owner: UUID) -> RegisteredAdapter | None:
        return self._find(registered_adapters.c.name == name, owner)

    def list_(self, owner: UUID) -> tuple[RegisteredAdapter, ...]:
        """Newest first."""
        query = (
            sa.select(registered_adapters)
            .where(registered_adapters.c.organization_id == owner)
            .order_by(registered_adapters.c.seq.desc())
        )
        return tuple(_adapter(row) for row in self._connection.execute(query).mappings())

    def count(self, owner: UUID) -> int:
        query = sa.select(sa.func.count()).where(registered_adapters.c.organization_id == owner)
        return self._connection.execute(query).scalar_one()

    def list_public(
        self, *, limit: int, offset: int, order_by: str
    ) -> tuple[RegisteredAdapter, ...]:
        """Those of every owner that answer, in ascending order."""
        query = (
            sa.select(registered_adapters)
            .where(registered_adapters.c.is_public, _ANSWERS)
            .order_by(_ORDERS[order_by], registered_adapters.c.seq)
            .limit(limit)
            .offset(offset)
        )
        return tuple(_adapter(row) for row in self._connection.execute(query).mappings())

    def find_public(self, any_id: UUID) -> RegisteredAdapter | None:
        """By its own id, or by that of the model that answers for it."""
        own, of_model = registered_adapters.c.id, registered_adapters.c.model_id
        return self._find_public(sa.or_(own == any_id, of_model == any_id))

    def find_public_by_name(self, name: str) -> RegisteredAdapter | None:
        """The oldest of that name, so that nobody can put another one in its place."""
        return self._find_public(registered_adapters.c.name == name)

    def _find(self, where: sa.ColumnElement[bool], owner: UUID) -> RegisteredAdapter | None:
        query = sa.select(registered_adapters).where(
            where, registered_adapters.c.organization_id == owner
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _adapter(row)

    def _find_public(self, where: sa.ColumnElement[bool]) -> RegisteredAdapter | None:
        query = (
            sa.select(registered_adapters)
            .where(where, registered_adapters.c.is_public, _ANSWERS)
            .order_by(registered_adapters.c.seq)
            .limit(1)
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _adapter(row)


def _columns(adapter: RegisteredAdapter) -> dict[str, Any]:
    return {
        "id": adapter.id,
        "organization_id": adapter.organization_id,
        "name": adapter.name,
        "description": adapter.description,
        "base_model": adapter.base_model,
        "base_model_as_given": adapter.base_model_as_given,
        "is_public": adapter.is_public,
        "files": plain(_FILES, adapter.files),
        "job_id": adapter.job_id,
        "model_id": adapter.model_id,
        "created_at": adapter.created_at,
        "modified_at": adapter.modified_at,
    }


def _adapter(row: Row) -> RegisteredAdapter:
    return RegisteredAdapter(
        id=row["id"],
        organization_id=row["organization_id"],
        name=row["name"],
        description=row["description"],
        base_model=row["base_model"],
        base_model_as_given=row["base_model_as_given"],
        is_public=row["is_public"],
        files=_FILES.validate_python(row["files"]),
        job_id=row["job_id"],
        model_id=row["model_id"],
        created_at=row["created_at"],
        modified_at=row["modified_at"],
    )
