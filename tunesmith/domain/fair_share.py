"""Whose job is next: priority, then quota, then the least use by weight, then age.

Use is counted as in start-time fair queueing (Goyal, Vin, Cheng 1996). An organization's virtual
time is what it has had of the workers, in seconds divided by its weight. The scheduler's own is
that of whoever has had the least and waits for more. Who was idle begins there: nobody saves up
for later, and who comes new pays for nobody's past.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from heapq import heapify, heappop, heapreplace
from uuid import UUID

from tunesmith.domain.jobs import Task
from tunesmith.domain.quotas import Quota

RESERVED_SECONDS = 60.0  # what a job that has just begun is expected to take at least
MAX_PASSED_OVER = timedelta(minutes=5)


class Hold(StrEnum):
    """Which of its organization's quotas a job waits for."""

    RUNNING_JOBS = "running_jobs"
    TOKENS_PER_DAY = "tokens_per_day"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """The first of an organization's jobs that wait for the same task and base model."""

    seq: int  # its place in the queue: by age
    organization_id: UUID
    task: Task
    priority: int
    base_model: str
    passed_over_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An organization's quota, and what it has and had. Seconds are those of leases that are on."""

    quota: Quota
    virtual_time: float = 0.0
    num_leases: int = 0
    num_running_jobs: int = 0
    lease_seconds: float = 0.0
    tokens_today: int = 0

    def held_by(self, task: Task) -> Hold | None:
        """Why no more of its jobs may begin. What reads a job's data is never held."""
        if task is not Task.TRAIN:
            return None
        quota = self.quota
        if quota.max_running_jobs is not None and self.num_running_jobs >= quota.max_running_jobs:
            return Hold.RUNNING_JOBS
        if quota.max_tokens_per_day is not None and self.tokens_today >= quota.max_tokens_per_day:
            return Hold.TOKENS_PER_DAY
        return None

    def start(self, system_time: float) -> float:
        """The virtual time at which its next job would begin."""
        return max(self.virtual_time + self.lease_seconds / self.quota.weight, system_time)

    def lifted(self, system_time: float) -> float:
        """Its virtual time without what it saved up by being idle."""
        return self.start(system_time) - self.lease_seconds / self.quota.weight

    def rank(self, system_time: float) -> float:
        """Who ranks lowest is next: a lease counts from its first moment."""
        reserved = self.num_leases * RESERVED_SECONDS / self.quota.weight
        return self.start(system_time) + reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who is next; who would have been, but for another base model; and the virtual time now."""

    next: Candidate
    passed_over: Candidate | None
    system_time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """What a worker could begin to train: on a `resident` base model that is not `full`, or on
    another one where it has a place for that.
    """

    resident: frozenset[str] = frozenset()
    full: frozenset[str] = frozenset()
    takes_others: bool = True

    def admits(self, candidate: Candidate) -> bool:
        """Data can be checked anywhere."""
        if candidate.task is not Task.TRAIN:
            return True
        if candidate.base_model in self.resident:
            return candidate.base_model not in self.full
        return self.takes_others


def choose(
    candidates: Collection[Candidate],
    standings: Mapping[UUID, Standing],
    system_time: float,
    capacity: Capacity,
    now: datetime,
) -> Choice | None:
    """Who is next; None where all wait for their quotas, or for this worker to have room.

    A job for a resident base model goes before the first in line that would need another one, if
    it is of the same priority and that has not been passed over for too long. A job that has is
    waited for: the worker's runs come to their ends, and a host makes room.
    """

    def order(candidate: Candidate) -> tuple[int, float, int]:
        standing = standings[candidate.organization_id]
        return -candidate.priority, standing.rank(system_time), candidate.seq

    unheld = [c for c in candidates if standings[c.organization_id].held_by(c.task) is None]
    if not unheld:
        return None
    first = min(unheld, key=order)
    least = min(standings[c.organization_id].start(system_time) for c in unheld)
    can_begin = capacity.admits(first)
    is_at_hand = first.task is not Task.TRAIN or first.base_model in capacity.resident
    has_waited = first.passed_over_at is not None and now - first.passed_over_at >= MAX_PASSED_OVER
    if can_begin and (is_at_hand or has_waited):
        return Choice(next=first, passed_over=None, system_time=least)
    others = [c for c in unheld if capacity.admits(c)]
    if not is_at_hand and has_waited:
        others = [c for c in others if c.task is not Task.TRAIN]
    elif can_begin:
        others = [
            c
            for c in others
            if c.base_model in capacity.resident
            and (c.priority, c.task) == (first.priority, first.task)
        ]
    if others:
        passed_over = None if is_at_hand else first
        return Choice(next=min(others, key=order), passed_over=passed_over, system_time=least)
    return Choice(next=first, passed_over=None, system_time=least) if can_begin else None


def in_order(
    waiting: Collection[Candidate], standings: Mapping[UUID, Standing], system_time: float
) -> Iterator[Candidate]:
    """All that wait, as they would be chosen if each took as long and nothing else came."""
    lines: dict[tuple[int, UUID], list[Candidate]] = {}
    for candidate in sorted(waiting, key=lambda c: c.seq, reverse=True):
        lines.setdefault((-candidate.priority, candidate.organization_id), []).append(candidate)
    heads = [
        (priority, standings[owner].rank(system_time), line[-1].seq, owner)
        for (priority, owner), line in lines.items()
    ]
    heapify(heads)
    while heads:
        priority, rank, _, owner = heads[0]
        line = lines[priority, owner]
        yield line.pop()
        if line:
            later = rank + RESERVED_SECONDS / standings[owner].quota.weight
            heapreplace(heads, (priority, later, line[-1].seq, owner))
        else:
            heappop(heads)
