"""Organizations, users and keys."""

import hmac
from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.accounts import Key, Organization, Role, Scope, User
from tunesmith.domain.errors import NotFound
from tunesmith.store.rows import Row
from tunesmith.store.tables import keys, organizations, users

_LOOKUP_LENGTH = 16  # hex digits of a digest by which its row is found; the rest is compared
_NO_DIGEST = "0" * 64

_WITH_USER = sa.select(
    keys, users.c.role, sa.func.coalesce(users.c.email, keys.c.email).label("owner_email")
).outerjoin(users, users.c.id == keys.c.user_id)


class Accounts:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def find_organization(self, slug: str) -> Organization | None:
        query = sa.select(organizations).where(organizations.c.slug == slug)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _organization(row)

    def get_organization(self, organization_id: UUID) -> Organization:
        query = sa.select(organizations).where(organizations.c.id == organization_id)
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound("organization", str(organization_id))
        return _organization(row)

    def list_organizations(self) -> tuple[Organization, ...]:
        query = sa.select(organizations).order_by(organizations.c.seq)
        return tuple(_organization(row) for row in self._connection.execute(query).mappings())

    def add_organization(self, organization: Organization) -> None:
        self._connection.execute(
            sa.insert(organizations).values(
                id=organization.id,
                name=organization.name,
                slug=organization.slug,
                created_at=organization.created_at,
                suspended_at=organization.suspended_at,
            )
        )

    def change_organization(self, organization: Organization) -> None:
        """Its slug stays: it is part of the names of models."""
        where = organizations.c.id == organization.id
        values = {"name": organization.name, "suspended_at": organization.suspended_at}
        self._connection.execute(sa.update(organizations).where(where).values(**values))

    def add_user(self, user: User) -> None:
        self._connection.execute(
            sa.insert(users).values(
                id=user.id,
                organization_id=user.organization_id,
                email=user.email,
                name=user.name,
                role=user.role,
                created_at=user.created_at,
            )
        )

    def get_user(self, user_id: UUID, organization_id: UUID) -> User:
        where = (users.c.id == user_id, users.c.organization_id == organization_id)
        row = self._connection.execute(sa.select(users).where(*where)).mappings().one_or_none()
        if row is None:
            raise NotFound("user", str(user_id))
        return _user(row)

    def find_user(self, email: str, organization_id: UUID) -> User | None:
        where = (users.c.email == email, users.c.organization_id == organization_id)
        row = self._connection.execute(sa.select(users).where(*where)).mappings().one_or_none()
        return None if row is None else _user(row)

    def list_users(self, organization_id: UUID) -> tuple[User, ...]:
        query = (
            sa.select(users).where(users.c.organization_id == organization_id).order_by(users.c.seq)
        )
        return tuple(_user(row) for row in self._connection.execute(query).mappings())

    def change_user(self, user: User) -> None:
        values = {"name": user.name, "role": user.role}
        self._connection.execute(sa.update(users).where(users.c.id == user.id).values(**values))

    def delete_user(self, user: User) -> None:
        self._connection.execute(sa.delete(users).where(users.c.id == user.id))

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
                email=None if key.user_id else key.email,
                user_id=key.user_id,
                revoked_at=key.revoked_at,
                last_used_at=key.last_used_at,
            )
        )

    def find_key(self, digest: str) -> tuple[Key, Organization] | None:
        """The same work whether it is there or not, and in the same time for each mistake."""
        lookup = digest[:_LOOKUP_LENGTH]
        query = (
            _WITH_USER.add_columns(
                organizations.c.name.label("organization_name"),
                organizations.c.slug,
                organizations.c.created_at.label("organization_created_at"),
                organizations.c.suspended_at,
            )
            .join(organizations, organizations.c.id == keys.c.organization_id)
            .where(keys.c.digest >= lookup, keys.c.digest < f"{lookup}g")
        )
        row = self._connection.execute(query).mappings().first()
        is_same = hmac.compare_digest(_NO_DIGEST if row is None else row["digest"], digest)
        if row is None or not is_same:
            return None
        return _key(row), Organization(
            id=row["organization_id"],
            name=row["organization_name"],
            slug=row["slug"],
            created_at=row["organization_created_at"],
            suspended_at=row["suspended_at"],
        )

    def get_key(self, key_id: UUID, organization_id: UUID) -> Key:
        query = _WITH_USER.where(keys.c.id == key_id, keys.c.organization_id == organization_id)
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound("key", str(key_id))
        return _key(row)

    def list_keys(self, organization_id: UUID) -> tuple[Key, ...]:
        """Those that were revoked, too."""
        query = _WITH_USER.where(keys.c.organization_id == organization_id).order_by(keys.c.seq)
        return tuple(_key(row) for row in self._connection.execute(query).mappings())

    def change_key(self, key: Key) -> None:
        self._connection.execute(
            sa.update(keys)
            .where(keys.c.id == key.id)
            .values(
                name=key.name,
                scopes=sorted(key.scopes),
                expires_at=key.expires_at,
                revoked_at=key.revoked_at,
            )
        )

    def note_uses(self, uses: Mapping[UUID, datetime]) -> None:
        """When keys were last used."""
        if uses:
            self._connection.execute(
                sa.update(keys)
                .where(keys.c.id == sa.bindparam("used"))
                .values(last_used_at=sa.bindparam("at")),
                [{"used": key_id, "at": at} for key_id, at in uses.items()],
            )


def _organization(row: Row) -> Organization:
    return Organization(
        id=row["id"],
        name=row["name"],
        slug=row["slug"],
        created_at=row["created_at"],
        suspended_at=row["suspended_at"],
    )


def _user(row: Row) -> User:
    return User(
        id=row["id"],
        organization_id=row["organization_id"],
        email=row["email"],
        name=row["name"],
        role=Role(row["role"]),
        created_at=row["created_at"],
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
        email=row["owner_email"],
        user_id=row["user_id"],
        role=None if row["role"] is None else Role(row["role"]),
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
