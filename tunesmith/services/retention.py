"""How long what finished jobs leave behind is kept, where the operator has set an end to it.

The bytes of what is removed go with the next sweep of the blobs, unless something else needs them.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from tunesmith.store.database import Store

BATCH = 1000  # rows that go in one transaction: others wait meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`None` keeps for ever. Counted from the end of the job."""

    checkpoint_days: float | None = None
    checkpoints_kept: int = 1
    event_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """`num_bytes` are those of the checkpoints; of several that share some, each counts them."""

    num_checkpoints: int = 0
    num_bytes: int = 0
    num_events: int = 0

    def __bool__(self) -> bool:
        return bool(self.num_checkpoints or self.num_events)


def look(store: Store, policy: Policy, now: datetime) -> Removed:
    """What would go."""
    num_checkpoints = num_bytes = num_events = 0
    if policy.checkpoint_days is not None:
        before = now - timedelta(days=policy.checkpoint_days)
        old = store.retention.old_checkpoints(before, policy.checkpoints_kept, 10**9)
        num_checkpoints, num_bytes = len(old), sum(size for _, _, size in old)
    if policy.event_days is not None:
        before = now - timedelta(days=policy.event_days)
        num_events = store.retention.count_old_events(before)
    return Removed(num_checkpoints=num_checkpoints, num_bytes=num_bytes, num_events=num_events)


def remove_some(store: Store, policy: Policy, now: datetime) -> Removed:
    """A batch of it; nothing when there is no more."""
    num_bytes = num_events = 0
    old = []
    if policy.checkpoint_days is not None:
        before = now - timedelta(days=policy.checkpoint_days)
        old = store.retention.old_checkpoints(before, policy.checkpoints_kept, BATCH)
        for _, checkpoint_id, size in old:
            store.retention.delete_checkpoint(checkpoint_id)
            num_bytes += size
    if policy.event_days is not None:
        before = now - timedelta(days=policy.event_days)
        num_events = store.retention.delete_old_events(before, BATCH)
    return Removed(num_checkpoints=len(old), num_bytes=num_bytes, num_events=num_events)
