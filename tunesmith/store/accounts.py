"""Organizations and keys."""

from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.accounts import Key, Organization, Scope
from tunesmith.store.rows import Row
from tunesmith.store.tables import keys, organizations


class Accounts:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find_organization(self, slug: str) -> Organization | None:
        query = sa.select(organizations).where(organizations.c.slug == slug)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _organization(row)

    def get_organization(self, organization_id: UUID) -> Organization:
        query = sa.select(organizations).where(organizations.c.id == organization_id)
        return _organization(self._connection.execute(query).mappings().one())

    def add_organization(self, organization: Organization) -> None:
        self._connection.execute(
            sa.insert(organizations).values(
                id=organization.id,
                name=organization.name,
                slug=organization.slug,
                created_at=organization.created_at,
            )
        )

    def add_key(self, key: Key) -> None:
        self._connection.execute(
            sa.insert(keys).values(
                id=key.id,
                organization_id=key.organization_id,
                name=key.name,
                visible_prefix=key.visible_prefix,
                digest=key.digest,
                scopes=sorted(key.scopes),
                created_at=key.created_at,
                expires_at=key.expires_at,
                email=key.email,
            )
        )

    def find_key(self, digest: str) -> Key | None:
        query = sa.select(keys).where(keys.c.digest == digest)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _key(row)

    def list_keys(self, organization_id: UUID) -> tuple[Key, ...]:
        query = (
            sa.select(keys).where(keys.c.organization_id == organization_id).order_by(keys.c.seq)
        )
        return tuple(_key(row) for row in self._connection.execute(query).mappings())

    def delete_key(self, key_id: UUID, organization_id: UUID) -> bool:
        where = (keys.c.id == key_id, keys.c.organization_id == organization_id)
        return self._connection.execute(sa.delete(keys).where(*where)).rowcount == 1


def _organization(row: Row) -> Organization:
    return Organization(
        id=row["id"], name=row["name"], slug=row["slug"], created_at=row["created_at"]
    )


def _key(row: Row) -> Key:
    return Key(
        id=row["id"],
        organization_id=row["organization_id"],
        name=row["name"],
        visible_prefix=row["visible_prefix"],
        digest=row["digest"],
        scopes=frozenset(Scope(scope) for scope in row["scopes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        email=row["email"],
    )
