"""The log of who did what: entries of an organization, chained by their digests."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

FIRST = "0" * 64  # what the first entry of an organization follows
MAX_OBJECT_LENGTH = 300


class Outcome(StrEnum):
    DONE = "done"
    DENIED = "denied"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The request that something was asked by; nothing where the house does it by itself."""

    request_id: str | None = None
    ip: str | None = None
    asked: str = ""  # its method and path
    traceparent: str | None = None  # its place in a trace


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """`object` is a kind and an id; `before` and `after` are SHA-256 of what it was and became.

    `times` is how often a denied attempt was repeated before it was written down.
    """

    organization_id: UUID
    created_at: datetime
    outcome: Outcome
    action: str
    object: str
    before: str | None = None
    after: str | None = None
    key_id: UUID | None = None
    user_id: UUID | None = None
    request_id: str | None = None
    ip: str | None = None
    times: int = 1
    number: int = 0
    previous: str = FIRST
    digest: str = ""

    def following(self, number: int, digest: str) -> "AuditEntry":
        """As the next one after the entry of that number and digest."""
        placed = replace(self, number=number + 1, previous=digest)
        return replace(placed, digest=placed.computed_digest())

    def computed_digest(self) -> str:
        fields = {name: str(value) for name, value in asdict(self).items() if name != "digest"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """`broken_at` is the number of the first entry that is not as it was written, or follows none.

    `head` is the newest digest: noted elsewhere, it shows later that nothing before it was changed.
    """

    num_entries: int
    first: int | None
    head: str
    broken_at: int | None


def verify(entries: Iterable[AuditEntry]) -> Verdict:
    """In their order, from the first that is kept."""
    count, first, last = 0, None, None
    for entry in entries:
        follows = last is None or (entry.number, entry.previous) == (last.number + 1, last.digest)
        is_beginning = entry.number > 1 or entry.previous == FIRST
        if not follows or not is_beginning or entry.digest != entry.computed_digest():
            head = FIRST if last is None else last.digest
            return Verdict(num_entries=count, first=first, head=head, broken_at=entry.number)
        count, last = count + 1, entry
        first = entry.number if first is None else first
    return Verdict(
        num_entries=count, first=first, head=last.digest if last else FIRST, broken_at=None
    )
