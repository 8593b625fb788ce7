"""What is noticed while requests are answered, and written down together, once a minute.

A write for each request would cost more than most requests do. For one thread, the event loop's.
"""

from collections import Counter
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from tunesmith.domain.audit import MAX_OBJECT_LENGTH, AuditEntry, Origin, Outcome
from tunesmith.store.database import Store

MAX_DENIALS = 100  # different ones of an organization between two writings; others are counted


class Sightings:
    """Which keys were used, and what was denied to them."""

    def __init__(self) -> None:
        self._uses: dict[UUID, datetime] = {}
        self._denials: dict[tuple[UUID, UUID, str, str], AuditEntry] = {}
        self._num_denials: Counter[UUID] = Counter()

    def used(self, key_id: UUID, now: datetime) -> None:
        self._uses[key_id] = now

    def denied(
        self, organization_id: UUID, key_id: UUID, reason: str, origin: Origin, now: datetime
    ) -> None:
        """Of the many that there may be, the first ones and how many more."""
        asked = origin.asked
        if self._num_denials[organization_id] >= MAX_DENIALS:
            asked = "more of the same"
        place = (organization_id, key_id, reason, asked)
        known = self._denials.get(place)
        if known is not None:
            self._denials[place] = replace(known, times=known.times + 1)
            return
        self._num_denials[organization_id] += 1
        self._denials[place] = AuditEntry(
            organization_id=organization_id,
            created_at=now,
            outcome=Outcome.DENIED,
            action=reason,
            object=f"request {asked}"[:MAX_OBJECT_LENGTH],
            key_id=key_id,
            request_id=origin.request_id,
            ip=origin.ip,
        )

    def take(self) -> "Sightings":
        """What there is, to be written down; this begins anew."""
        taken = Sightings()
        taken.__dict__, self.__dict__ = self.__dict__, taken.__dict__
        return taken

    def write(self, store: Store) -> None:
        store.accounts.note_uses(self._uses)
        for entry in self._denials.values():
            store.audit.append(entry)

    def __bool__(self) -> bool:
        return bool(self._uses or self._denials)
