"""The invariants, kept apart from the code that is to hold them: by what was answered to whom."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    LEASE_SECONDS,
    Assignment,
    CheckpointPublished,
    Registration,
    ReportBatch,
    StepReported,
    TrainingStarted,
)
from tunesmith.domain.jobs import Job, JobStatus
from tunesmith.domain.quotas import Quota, day_of
from tunesmith.services import jobs as job_services
from tunesmith.store import queue_tables, tables
from tunesmith.store.database import Store

_FINAL = {"succeeded", "failed", "stopped"}
_IN_QUEUE = {"validating": {"validate"}, "queued": {"train"}, "running": {"train"}}
_EARLY = 10.0  # a lease that is renewed often is written anew only when it is so old


class Violation(AssertionError):
    pass


def must(condition: object, message: str) -> None:
    if not condition:
        raise Violation(message)


@dataclass
class Known:
    """What a job's owner and its workers were told."""

    owner: UUID
    status: str = "validating"
    attempt: int = 0
    granted: int = 0
    newest_step: int = 0
    was_restarted: bool = False
    num_begun: int = 0  # trainings, as its workers told
    steps: set[int] = field(default_factory=set)
    batches: dict[int, int] = field(default_factory=dict)  # newest sequence by attempt
    over: set[int] = field(default_factory=set)  # attempts that were refused or superseded
    is_pause_wanted: bool = False  # by its owner, while it runs
    heard_at: datetime | None = None  # when its attempt was last given or renewed
    deaf_seconds: float = 0.0  # of them the server was away for so many


Queue = Mapping[UUID, Any]  # the entries, by job


@dataclass
class Seen:
    """What is kept of all jobs, by job."""

    steps: dict[UUID, set[int]]
    starts: dict[UUID, int]
    checkpoints: dict[UUID, int]  # the newest's step

    @classmethod
    def in_(cls, connection: sa.Connection) -> "Seen":
        events, checkpoints = tables.events, tables.checkpoints
        steps: dict[UUID, set[int]] = {}
        points = sa.select(events.c.job_id, events.c.step).where(events.c.step.is_not(None))
        for job_id, step in connection.execute(points):
            steps.setdefault(job_id, set()).add(step)
        starts = (
            sa.select(events.c.job_id, sa.func.count())
            .where(events.c.kind.in_(("started", "resumed")))
            .group_by(events.c.job_id)
        )
        newest = sa.select(checkpoints.c.job_id, sa.func.max(checkpoints.c.step)).group_by(
            checkpoints.c.job_id
        )
        return cls(
            steps=steps,
            starts={job_id: count for job_id, count in connection.execute(starts)},
            checkpoints={job_id: step for job_id, step in connection.execute(newest)},
        )


class Checker:
    def __init__(self) -> None:
        self.jobs: dict[UUID, Known] = {}
        self.quotas: dict[UUID, Quota] = {}
        self._used: dict[UUID, float] = {}
        self._tokens_of: dict[tuple[UUID, int], int] = {}  # by organization and day

    def created(self, job: Job) -> None:
        self.jobs[job.id] = Known(owner=job.organization_id)
        limit = self.quotas[job.organization_id].max_queued_jobs
        waiting = [
            known
            for known in self.jobs.values()
            if known.owner == job.organization_id and known.status in ("validating", "queued")
        ]
        must(limit is None or len(waiting) <= limit, "more jobs wait than may")

    def refused(self, owner: Organization) -> None:
        limit = self.quotas[owner.id].max_queued_jobs
        must(limit is not None, "a job was refused for a quota that there is not")

    def changed(self, job_id: UUID, action: Any, job: Job | None) -> None:
        """`job` is what the action gave, if it gave one."""
        known = self.jobs[job_id]
        if job is not None:
            known.is_pause_wanted = job.is_pause_wanted
        if action is job_services.delete:
            del self.jobs[job_id]
        elif action is job_services.restart:
            must(known.status in ("failed", "stopped"), "a job was restarted that may not be")
            known.was_restarted = True
            known.newest_step, known.steps = 0, set()
            known.over.update(range(known.granted + 1))
        elif action is job_services.stop:
            known.over.update(range(known.granted + 1))

    def server_was_away(self, seconds: float) -> None:
        for known in self.jobs.values():
            known.deaf_seconds += seconds

    def clock_stepped(self, seconds: float) -> None:
        """Nobody was silent for longer, or shorter."""
        self.server_was_away(seconds)

    def see(self, store: Store) -> Queue:
        rows = store.queue._connection.execute(sa.select(queue_tables.queue)).mappings()
        return {row["job_id"]: row for row in rows}

    def granted(
        self,
        before: Queue,
        given: Assignment | None,
        now: datetime,
    ) -> None:
        running = self._running(before)
        if given is None:
            return
        known = self.jobs[given.job_id]
        entry = before[given.job_id]
        must(entry["worker"] is None, "a job was given out that somebody holds")
        must(entry["available_at"] <= now, "a job was given out before its time")
        must(given.attempt > known.granted, "an attempt's number was given twice")
        known.over.update(range(given.attempt))
        known.granted, known.heard_at, known.deaf_seconds = given.attempt, now, 0.0
        if given.task == "train":
            self._within_quota(known.owner, running, now)
            steps = [int(a.name.split("-")[1]) for a in given.resume_from] or [0]
            must(steps == [known.newest_step], "a job does not go on from its newest checkpoint")
        for job_id, other in before.items():
            is_free = other["worker"] is None and other["available_at"] <= now
            if is_free and other["priority"] > entry["priority"]:
                must(
                    other["task"] == "train" and self._is_held(job_id, running, now),
                    "a job of higher priority was passed over",
                )

    def accepted(self, job_id: UUID, attempt: int, batch: ReportBatch, now: datetime) -> None:
        known = self.jobs.get(job_id)
        must(known is not None, "a report on a job that is gone was accepted")
        assert known is not None
        must(attempt == known.granted, "a report of an attempt was accepted that is not the newest")
        must(attempt not in known.over, "a report of an attempt was accepted that is over")
        known.heard_at, known.deaf_seconds = now, 0.0
        if batch.sequence <= known.batches.get(attempt, 0):
            return
        known.batches[attempt] = batch.sequence
        for report in batch.reports:
            if isinstance(report, StepReported):
                self._trained(known, report, now)
            elif isinstance(report, CheckpointPublished):
                known.newest_step = report.step
            elif isinstance(report, TrainingStarted):
                known.num_begun += 1

    def _trained(self, known: Known, report: StepReported, now: datetime) -> None:
        """A step that is trained again counts once."""
        if report.metrics.step not in known.steps:
            known.steps.add(report.metrics.step)
            place = (known.owner, day_of(now))
            self._tokens_of[place] = self._tokens_of.get(place, 0) + report.metrics.tokens

    def rejected(self, job_id: UUID, attempt: int) -> None:
        if job_id in self.jobs:
            self.jobs[job_id].over.add(attempt)

    def swept(self, store: Store, before: Queue, now: datetime) -> None:
        """Whoever lost a lease had been silent for as long, while the server was there."""
        after = self.see(store)
        for job_id, entry in before.items():
            there = after.get(job_id)
            if entry["worker"] is None or (there is not None and there["worker"] is not None):
                continue
            known = self.jobs[job_id]
            known.over.add(entry["attempt"])
            assert known.heard_at is not None
            silent = (now - known.heard_at).total_seconds() - known.deaf_seconds
            must(silent >= LEASE_SECONDS - _EARLY, f"a lease ended after {silent} silent seconds")

    def registered(self, before: Queue, worker: Registration) -> None:
        """What its earlier incarnations were doing is over."""
        for job_id, entry in before.items():
            if entry["worker"] == worker.name:
                self.jobs[job_id].over.add(entry["attempt"])

    def check(self, store: Store) -> None:
        connection, queue = store.queue._connection, self.see(store)
        rows = connection.execute(sa.select(tables.jobs)).mappings()
        jobs = {row["id"]: row for row in rows}
        must(set(jobs) == set(self.jobs), "a job was lost, or came from nowhere")
        seen = Seen.in_(connection)
        for job_id, job in jobs.items():
            self._check_job(store, seen, self.jobs[job_id], job, queue.get(job_id))
        for row in connection.execute(sa.select(queue_tables.fair_shares)):
            must(row.virtual_time >= self._used.get(row[0], 0.0), "what was used was forgotten")
            self._used[row[0]] = row.virtual_time
        counted = connection.execute(sa.select(queue_tables.trained_tokens))
        tokens = {(row.organization_id, row.day): row.tokens for row in counted}
        must(tokens == self._tokens_of, "an organization's tokens were lost, or counted twice")

    def of_status(self, status: JobStatus) -> list[UUID]:
        return [job_id for job_id, known in self.jobs.items() if known.status == status]

    def all_ended(self) -> bool:
        return all(known.status in _FINAL for known in self.jobs.values())

    def expect_all_ended(self) -> None:
        left = {known.status for known in self.jobs.values()} - _FINAL
        must(not left, f"without faults, jobs were left {left}")

    def _check_job(self, store: Store, seen: "Seen", known: Known, job: Any, entry: Any) -> None:
        status = job["status"]
        tasks = _IN_QUEUE.get(status, set())
        must((entry is not None) == bool(tasks), f"a {status} job and its queue entry disagree")
        if entry is not None:
            must(entry["task"] in tasks, f"a {status} job waits for {entry['task']}")
            is_leased = entry["worker"] is not None
            must(status != "running" or is_leased, "a job runs that nobody holds")
            must(status != "queued" or not is_leased, "a job waits that somebody holds")
            must(not is_leased or entry["attempt"] == job["attempt"], "lease and job disagree")
            must(entry["priority"] == job["priority"], "entry and job differ in priority")
        must(job["attempt"] >= known.attempt, "a job's attempts were counted down")
        if known.status in _FINAL and status != known.status:
            must(known.was_restarted and status == "validating", "a job that had ended went on")
        known.was_restarted = False
        if status == "paused" or status in _FINAL:
            known.is_pause_wanted = False
        must(known.is_pause_wanted == bool(job["is_pause_wanted"]), "a pause was forgotten")
        known.status, known.attempt = status, job["attempt"]
        self._check_progress(seen, known, job)
        if status == "succeeded":
            self._check_success(store, job)
        must((job["finished_at"] is not None) == (status in _FINAL), "an end without a time")
        must((job["failure"] is not None) == (status == "failed"), "a failure without a reason")

    def _check_progress(self, seen: "Seen", known: Known, job: Any) -> None:
        steps = seen.steps.get(job["id"], set())
        must(steps == known.steps, f"steps {known.steps} were reported, {steps} are kept")
        tokens = 0 if job["progress"] is None else job["progress"]["tokens"]
        must(tokens == 100 * len(known.steps), "a step's tokens were lost, or counted twice")
        num_told = seen.starts.get(job["id"], 0)
        must(num_told == known.num_begun, "the log tells of more or fewer starts than there were")
        newest = seen.checkpoints.get(job["id"], 0)
        must(newest >= known.newest_step, "a published checkpoint is gone")

    def _check_success(self, store: Store, job: Any) -> None:
        connection = store.queue._connection
        short_id = job["tuned_model_short_id"]
        models = sa.select(tables.tuned_models.c.id).where(
            tables.tuned_models.c.short_id == short_id
        )
        results = sa.select(tables.files.c.id).where(tables.files.c.id == job["results_file_id"])
        must(connection.scalar(models) is not None, "a job succeeded without a model")
        must(connection.scalar(results) is not None, "a job succeeded without results")

    @staticmethod
    def _running(seen: Queue) -> dict[UUID, int]:
        count: dict[UUID, int] = {}
        for entry in seen.values():
            if entry["worker"] is not None and entry["task"] == "train":
                owner = entry["organization_id"]
                count[owner] = count.get(owner, 0) + 1
        return count

    def _within_quota(self, owner: UUID, running: Mapping[UUID, int], now: datetime) -> None:
        quota = self.quotas[owner]
        limit = quota.max_running_jobs
        must(limit is None or running.get(owner, 0) < limit, "more jobs run than may")
        tokens = self._tokens_of.get((owner, day_of(now)), 0)
        limit = quota.max_tokens_per_day
        must(limit is None or tokens < limit, "a training began that has no tokens left today")

    def _is_held(self, job_id: UUID, running: Mapping[UUID, int], now: datetime) -> bool:
        try:
            self._within_quota(self.jobs[job_id].owner, running, now)
        except Violation:
            return True
        return False
