"""Permissions on tuned models."""

from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.paging import Page, PageRequest
from tunesmith.domain.permissions import ModelPermission
from tunesmith.store.rows import Row, select_page
from tunesmith.store.tables import checkpoint_permissions


class Permissions:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, permission: ModelPermission) -> None:
        self._connection.execute(
            sa.insert(checkpoint_permissions).values(
                id=permission.id,
                model_id=permission.model_id,
                project=permission.project,
                organization_id=permission.organization_id,
                created_at=permission.created_at,
            )
        )

    def find(self, model_id: UUID, project: str) -> ModelPermission | None:
        query = sa.select(checkpoint_permissions).where(_of(model_id, project))
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _permission(row)

    def list_(
        self, model_id: UUID, project: str | None, request: PageRequest
    ) -> Page[ModelPermission]:
        where = _of(model_id, project)
        return select_page(self._connection, checkpoint_permissions, where, request, _permission)

    def delete(self, permission_id: UUID, model_id: UUID) -> bool:
        table = checkpoint_permissions
        where = (table.c.id == permission_id, table.c.model_id == model_id)
        return self._connection.execute(sa.delete(table).where(*where)).rowcount == 1


def _of(model_id: UUID, project: str | None) -> sa.ColumnElement[bool]:
    of_model = checkpoint_permissions.c.model_id == model_id
    if project is None:
        return of_model
    return sa.and_(of_model, checkpoint_permissions.c.project == project)


def _permission(row: Row) -> ModelPermission:
    return ModelPermission(
        id=row["id"],
        model_id=row["model_id"],
        project=row["project"],
        organization_id=row["organization_id"],
        created_at=row["created_at"],
    )
