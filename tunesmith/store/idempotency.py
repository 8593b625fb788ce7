"""What was answered under which idempotency key."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.store.rows import insert_or_else
from tunesmith.store.tables import idempotency_keys


class IdempotencyKeys:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def claim(self, owner: UUID, key: str, request_digest: str, now: datetime) -> bool:
        """False where the key has been used; whoever is using it just now is waited for."""
        claimed = self._connection.execute(
            insert_or_else(self._connection, idempotency_keys)
            .values(organization_id=owner, key=key, request_digest=request_digest, created_at=now)
            .on_conflict_do_nothing()
            .returning(idempotency_keys.c.key)  # an insert's row count is not told everywhere
        )
        return claimed.first() is not None

    def get(self, owner: UUID, key: str) -> tuple[str, Any]:
        """The digest of what was asked, and the answer."""
        table = idempotency_keys
        query = sa.select(table.c.request_digest, table.c.answer).where(_of(owner, key))
        row = self._connection.execute(query).one()
        return row.request_digest, row.answer

    def answer(self, owner: UUID, key: str, answer: Any) -> None:
        change = sa.update(idempotency_keys).where(_of(owner, key)).values(answer=answer)
        self._connection.execute(change)

    def delete_old(self, created_until: datetime) -> int:
        where = idempotency_keys.c.created_at <= created_until
        return self._connection.execute(sa.delete(idempotency_keys).where(where)).rowcount


def _of(owner: UUID, key: str) -> sa.ColumnElement[bool]:
    table = idempotency_keys
    return sa.and_(table.c.organization_id == owner, table.c.key == key)
