"""The queue explains itself: who is next, why each job waits, and what would start it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import count
from uuid import UUID

from tunesmith.domain import fair_share
from tunesmith.domain.accounts import Scope
from tunesmith.domain.fair_share import MAX_PASSED_OVER, Hold, Standing
from tunesmith.domain.jobs import JobStatus, Task
from tunesmith.domain.quotas import next_day
from tunesmith.services.context import Context
from tunesmith.store.database import Store
from tunesmith.store.queue import Waiting

_SEEN_WITHIN = timedelta(minutes=3)  # workers are written down as seen once a minute


class Reason(StrEnum):
    TURN = "turn"  # others come before, or every worker is at work
    NO_WORKER = "no_worker"
    BACKOFF = "backoff"  # after an attempt that was lost
    BASE_MODEL = "base_model"  # those who asked were busy with other base models
    RUNNING_JOBS = "running_jobs"
    TOKENS_PER_DAY = "tokens_per_day"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Why a job waits. `position` counts from 1 those that could begin; None where it could not.

    `starts_when` is a sentence; `not_before` a moment, where it is one that the job waits for.
    """

    job_id: UUID
    organization_id: UUID
    task: Task
    priority: int
    base_model: str
    position: int | None
    reason: Reason
    starts_when: str
    not_before: datetime | None = None


def list_all(ctx: Context) -> list[Explanation]:
    """Of every organization, in the order in which they would begin."""
    ctx.require(Scope.OPERATOR)
    return _explain(ctx.store, ctx.now())


def list_own(ctx: Context) -> list[Explanation]:
    """The caller's jobs that wait, in the order in which they would begin.

    Positions count the caller's own jobs alone: a list tells nobody how much others have to do.
    """
    ctx.require(Scope.JOBS_READ)
    own = [one for one in _explain(ctx.store, ctx.now()) if one.organization_id == ctx.owner]
    positions = count(1)
    return [one if one.position is None else replace(one, position=next(positions)) for one in own]


def explain(ctx: Context, job_id: UUID) -> Explanation | None:
    """Why the caller's job waits; None for one that does not."""
    ctx.require(Scope.JOBS_READ)
    job = ctx.store.jobs.get(job_id, ctx.owner)
    if job.status is JobStatus.PAUSED:
        return Explanation(
            job_id=job.id,
            organization_id=job.organization_id,
            task=Task.TRAIN,
            priority=job.priority,
            base_model=job.base_model,
            position=None,
            reason=Reason.PAUSED,
            starts_when="It is resumed.",
        )
    if job.status not in (JobStatus.VALIDATING, JobStatus.QUEUED):
        return None
    found = (one for one in _explain(ctx.store, ctx.now()) if one.job_id == job.id)
    return next(found, None)


def _explain(store: Store, now: datetime) -> list[Explanation]:
    waiting = {one.candidate.seq: one for one in store.queue.list_waiting()}
    owners = {one.candidate.organization_id for one in waiting.values()}
    standings = store.shares.standings(owners, now)
    order = fair_share.in_order(
        [one.candidate for one in waiting.values()], standings, store.shares.find_time()
    )
    has_workers = store.queue.count_workers(now - _SEEN_WITHIN) > 0
    room = _Room(standings)
    explained = []
    position = 0
    for candidate in order:
        one = waiting[candidate.seq]
        reason, starts_when, not_before = _reason(one, room, has_workers, now)
        can_begin = reason in (Reason.TURN, Reason.BASE_MODEL, Reason.NO_WORKER)
        position += can_begin
        explained.append(
            Explanation(
                job_id=one.job_id,
                organization_id=candidate.organization_id,
                task=candidate.task,
                priority=candidate.priority,
                base_model=candidate.base_model,
                position=position if can_begin else None,
                reason=reason,
                starts_when=starts_when,
                not_before=not_before,
            )
        )
    return explained


class _Room:
    """How many more trainings each organization may begin, as the line is gone through."""

    def __init__(self, standings: Mapping[UUID, Standing]) -> None:
        self._standings = standings
        self._begun: Counter[UUID] = Counter()

    def hold(self, one: Waiting) -> Hold | None:
        owner = one.candidate.organization_id
        standing = self._standings[owner]
        held = standing.held_by(one.candidate.task)
        if held is not None or one.candidate.task is not Task.TRAIN:
            return held
        limit = standing.quota.max_running_jobs
        if limit is not None and standing.num_running_jobs + self._begun[owner] >= limit:
            return Hold.RUNNING_JOBS
        self._begun[owner] += 1
        return None

    def limit(self, one: Waiting) -> Standing:
        return self._standings[one.candidate.organization_id]


def _reason(
    one: Waiting, room: _Room, has_workers: bool, now: datetime
) -> tuple[Reason, str, datetime | None]:
    if one.available_at > now:
        moment = one.available_at
        return Reason.BACKOFF, f"Its time comes, after {one.losses} lost attempts.", moment
    held, quota = room.hold(one), room.limit(one).quota
    if held is Hold.RUNNING_JOBS:
        limit = f"{quota.max_running_jobs:,}" if quota.max_running_jobs is not None else "all"
        sentence = (
            f"One of the organization's jobs ends: it may run {limit} at once (max_running_jobs)."
        )
        return Reason.RUNNING_JOBS, sentence, None
    if held is Hold.TOKENS_PER_DAY:
        limit, trained = f"{quota.max_tokens_per_day:,}", f"{room.limit(one).tokens_today:,}"
        sentence = (
            f"A new day begins: the organization may train {limit} tokens a day "
            f"(max_tokens_per_day), and has trained {trained}."
        )
        return Reason.TOKENS_PER_DAY, sentence, next_day(now)
    if not has_workers:
        return Reason.NO_WORKER, "A worker connects; there is none.", None
    passed_over_at = one.candidate.passed_over_at
    if passed_over_at is not None:
        sentence = f"A worker has room for {one.candidate.base_model}."
        return Reason.BASE_MODEL, sentence, passed_over_at + MAX_PASSED_OVER
    return Reason.TURN, "A worker has room, and those before it have begun.", None
