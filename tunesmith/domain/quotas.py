"""What an organization may have at once, and how much of the workers is its share."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MIN_PRIORITY, DEFAULT_PRIORITY, MAX_PRIORITY = 1, 3, 5
MAX_WEIGHT = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """A limit that is None is none. `default_priority` is that of jobs which are given no other.

    Of two organizations with work for all workers, one with twice the `weight` gets twice the time.
    """

    weight: float = 1.0
    default_priority: int = DEFAULT_PRIORITY  # from 1 to 5; 5 goes first
    max_running_jobs: int | None = None
    max_queued_jobs: int | None = None
    max_stored_bytes: int | None = None
    max_tokens_per_day: int | None = None  # trained, in a day of UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What an organization has now of what its quota limits."""

    running_jobs: int
    queued_jobs: int
    stored_bytes: int
    tokens_today: int


def day_of(now: datetime) -> int:
    """Counted from 1970, in UTC."""
    return now.astimezone(UTC).date().toordinal() - datetime(1970, 1, 1).toordinal()


def next_day(now: datetime) -> datetime:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(days=1)
