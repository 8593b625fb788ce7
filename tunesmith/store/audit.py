"""The log of who did what. Entries are added, and never changed."""

from collections.abc import Iterator
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.audit import FIRST, AuditEntry, Outcome
from tunesmith.store.rows import Row
from tunesmith.store.tables import audit_entries, organizations

_BATCH = 500


class Audit:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def append(self, entry: AuditEntry) -> None:
        """Its number and digests are decided here. One at a time writes for an organization."""
        owner = organizations.c.id == entry.organization_id
        self._connection.execute(sa.select(organizations.c.id).where(owner).with_for_update())
        newest = (
            sa.select(audit_entries.c.number, audit_entries.c.digest)
            .where(audit_entries.c.organization_id == entry.organization_id)
            .order_by(audit_entries.c.number.desc())
            .limit(1)
        )
        last = self._connection.execute(newest).one_or_none()
        number, digest = (0, FIRST) if last is None else last
        row = entry.following(number, digest)
        columns = {name: getattr(row, name) for name in row.__slots__}
        self._connection.execute(sa.insert(audit_entries).values(**columns))

    def list_(self, owner: UUID, *, after: int, limit: int) -> tuple[AuditEntry, ...]:
        """Oldest first, from the number behind `after`."""
        query = (
            sa.select(audit_entries)
            .where(audit_entries.c.organization_id == owner, audit_entries.c.number > after)
            .order_by(audit_entries.c.number)
            .limit(limit)
        )
        return tuple(_entry(row) for row in self._connection.execute(query).mappings())

    def list_newest(self, owner: UUID, limit: int) -> tuple[AuditEntry, ...]:
        """Newest first."""
        query = (
            sa.select(audit_entries)
            .where(audit_entries.c.organization_id == owner)
            .order_by(audit_entries.c.number.desc())
            .limit(limit)
        )
        return tuple(_entry(row) for row in self._connection.execute(query).mappings())

    def all_of(self, owner: UUID) -> Iterator[AuditEntry]:
        after = 0
        while entries := self.list_(owner, after=after, limit=_BATCH):
            yield from entries
            after = entries[-1].number


def _entry(row: Row) -> AuditEntry:
    fields = {name: row[name] for name in AuditEntry.__slots__}
    return AuditEntry(**{**fields, "outcome": Outcome(row["outcome"])})
