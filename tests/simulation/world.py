"""A small world around the real services: organizations, users, workers, and what befalls them.

Everything that happens follows from the seed: the clock is virtual, the trainings are made up, and
what a fault does is what a network or a machine could do. The services and the database are real.
"""

import random
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from tests.factories import NOW, SHA, artifact, base_model, context, file, metrics, organization
from tests.simulation.checker import Checker
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    Assignment,
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    Registration,
    Report,
    ReportBatch,
    Resident,
    Room,
    StepReported,
    TrainingFailed,
    TrainingFinished,
    TrainingStarted,
    Validated,
    Wish,
)
from tunesmith.domain.errors import Conflict, NotFound, QuotaExceeded, StaleAttempt
from tunesmith.domain.files import Blob
from tunesmith.domain.jobs import Failure, JobStatus, NewJob, Task
from tunesmith.domain.quotas import Quota
from tunesmith.services import jobs, leases, pausing, quotas, scheduling
from tunesmith.services.context import Context, House
from tunesmith.store.database import Database

TOTAL_STEPS = 3
SWEEP_SECONDS = 5
MODELS = ("base", "other")
OUTCOMES = {"step": 10, "checkpoint": 6, "done": 5, "lost": 1, "failed": 0.5, "left": 0.5}
_NAMES = UUID(int=7)


class Bytes:
    """Blobs whose bytes nobody reads."""

    def has(self, sha256: str) -> bool:
        return True

    def put(self, content: bytes) -> Blob:
        return Blob(sha256=SHA, size_bytes=len(content))

    def require_room(self) -> None:
        """There always is."""


@dataclass
class Run:
    """A fake training, or reading of data, at a worker."""

    assignment: Assignment
    step: int
    sequence: int = 0
    unanswered: ReportBatch | None = None
    is_pausing: bool = False


@dataclass
class Worker:
    registration: Registration
    capacity: int
    silent_until: datetime = NOW
    runs: list[Run] = field(default_factory=list)


class World:
    def __init__(self, seed: int, database: Database) -> None:
        self.rng = random.Random(seed)
        self.database = database
        self.now = self._swept_at = NOW
        self._num_named = 0
        self.outcomes = {name: self._weather(weight) for name, weight in OUTCOMES.items()}
        self.blobs: Any = Bytes()
        self.house = House(blobs=self.blobs, sampler=None, now=lambda: self.now)  # type: ignore[arg-type]
        self.checker = Checker()
        self.sent: list[tuple[UUID, int, ReportBatch]] = []
        self.owners = [organization(f"org-{number}") for number in range(self.rng.randint(1, 3))]
        self.workers = [self._new_worker(f"worker-{number}") for number in range(3)]
        self.training = file(self.owners[0]).id
        with self.database.write() as store:
            for model in MODELS:
                store.models.put_base(base_model(model))
            for owner in self.owners:
                store.accounts.add_organization(owner)
            for worker in self.workers:
                scheduling.register(store, worker.registration, self.now)
        for owner in self.owners:
            self.change_quota(owner)

    def live(self, num_events: int) -> None:
        """Let things happen, faults among them; then let it all come to an end.

        In each world other things are frequent: what only shows where one fault comes upon another
        would hardly ever show in an average one.
        """
        usual = {
            self.create: 5.0,
            self.poll: 9.0,
            self.work: 22.0,
            self.lose_worker: 1.0,
            self.silence_worker: 1.0,
            self.restart_server: 1.0,
            self.step_clock: 0.5,
            self.repeat_old_report: 3.0,
            self.meddle: 8.0,
            self.change_quota: 1.0,
        }
        kinds = {event: self._weather(weight) for event, weight in usual.items()}
        for _ in range(self.rng.randint(1, 5)):
            self.create()
        for _ in range(num_events):
            self.pass_time(self.rng.choice((0.0, 0.5, 3.0, 12.0)))
            (event,) = self.rng.choices(list(kinds), weights=list(kinds.values()))
            event()
            self._check()
        self.finish()

    def _weather(self, weight: float) -> float:
        return weight * self.rng.choice((0.2, 1, 1, 5))

    def finish(self) -> None:
        """Without faults and quotas: whatever can run ends, in bounded time."""
        for owner in self.owners:
            self._set_quota(owner, Quota())
        for worker in self.workers:
            worker.silent_until = self.now
        self.pass_time(scheduling.MAX_WAIT.total_seconds())
        for _ in range(60):
            for job_id in self.checker.of_status(JobStatus.PAUSED):
                self._on(job_id, pausing.resume)
            for worker in self.workers:
                self._poll(worker, is_heard=True)
                for run in list(worker.runs):
                    self._work(worker, run, "done", fate="heard")
            self._check()
            if self.checker.all_ended():
                break
            self.pass_time(15.0)
        self.checker.expect_all_ended()

    def pass_time(self, seconds: float) -> None:
        """The server looks for silent workers all the while."""
        until = self.now + timedelta(seconds=seconds)
        while self._swept_at + timedelta(seconds=SWEEP_SECONDS) <= until:
            self._swept_at += timedelta(seconds=SWEEP_SECONDS)
            self.now = max(self.now, self._swept_at)
            self._sweep()
        self.now = until

    def create(self) -> None:
        owner = self.rng.choice(self.owners)
        name = self.rng.choice(MODELS)

        def create(ctx: Context) -> None:
            training = file(owner)
            ctx.store.files.add(training)
            new = NewJob(base_model=name, training_file_id=training.id)
            self.checker.created(jobs.create(ctx, new))

        try:
            self._as(owner, create)
        except QuotaExceeded:
            self.checker.refused(owner)

    def poll(self) -> None:
        """A worker asks for something to do; the answer may be lost."""
        awake = [worker for worker in self.workers if worker.silent_until <= self.now]
        with_room = [worker for worker in awake if len(worker.runs) < worker.capacity]
        if with_room:
            self._poll(self.rng.choice(with_room), is_heard=self.rng.random() < 0.9)

    def work(self) -> None:
        awake = [worker for worker in self.workers if worker.silent_until <= self.now]
        at_work = [worker for worker in awake if worker.runs]
        if not at_work:
            return
        worker = self.rng.choice(at_work)
        outcome = self.rng.choices(list(self.outcomes), list(self.outcomes.values()))[0]
        fate = self.rng.choices(("heard", "unheard", "unanswered"), (8, 1, 1))[0]
        self._work(worker, self.rng.choice(worker.runs), outcome, fate)

    def lose_worker(self) -> None:
        """It dies, and is started again under its old name."""
        place = self.rng.randrange(len(self.workers))
        self.workers[place] = self._new_worker(self.workers[place].registration.name)
        self.pass_time(self.rng.choice((0.0, 20.0, 100.0)))
        with self.database.write() as store:
            before = self.checker.see(store)
            scheduling.register(store, self.workers[place].registration, self.now)
        self.checker.registered(before, self.workers[place].registration)

    def silence_worker(self) -> None:
        """For three leases: its runs go on, and are told about afterwards."""
        worker = self.rng.choice(self.workers)
        worker.silent_until = self.now + timedelta(seconds=self.rng.choice((30, 180, 400)))

    def restart_server(self) -> None:
        """What it knew is in the database; nobody looked for silent workers meanwhile."""
        away = self.rng.choice((1.0, 30.0, 90.0, 4000.0))
        self.now += timedelta(seconds=away)
        self._swept_at = self.now
        self.checker.server_was_away(away)
        self._sweep()

    def step_clock(self) -> None:
        """Nobody was away, and the server does not know."""
        step = self.rng.choice((-86400.0, -3600.0, 3600.0, 86400.0))
        self.now += timedelta(seconds=step)
        self._swept_at += timedelta(seconds=step)
        for worker in self.workers:
            worker.silent_until += timedelta(seconds=step)
        self.checker.clock_stepped(step)

    def repeat_old_report(self) -> None:
        """Something that was sent before arrives again."""
        if self.sent:
            self._deliver(*self.rng.choice(self.sent))

    def meddle(self) -> None:
        """An owner does something to a job, allowed or not."""
        if not self.checker.jobs:
            return
        job_id = self.rng.choice(sorted(self.checker.jobs))
        actions = (pausing.pause, pausing.resume, jobs.stop, jobs.restart, jobs.delete, _prioritize)
        self._on(job_id, self.rng.choices(actions, (6, 6, 2, 3, 1, 2))[0])

    def change_quota(self, owner: Organization | None = None) -> None:
        wanted = Quota(
            weight=self.rng.choice((0.5, 1.0, 4.0)),
            max_running_jobs=self.rng.choice((None, 1, 1, 2)),
            max_queued_jobs=self.rng.choice((None, 2, 5)),
            max_tokens_per_day=self.rng.choice((None, None, 500)),
        )
        self._set_quota(owner or self.rng.choice(self.owners), wanted)

    def _set_quota(self, owner: Organization, quota: Quota) -> None:
        self._as(owner, lambda ctx: quotas.change(ctx, str(ctx.owner), asdict(quota)))
        self.checker.quotas[owner.id] = quota

    def _poll(self, worker: Worker, *, is_heard: bool) -> None:
        held = {run.assignment.base_model.name: run.assignment.base_model for run in worker.runs}
        residents = tuple(
            Resident(base_model=base.name, fingerprint=base.fingerprint, takes_more=True)
            for base in held.values()
        )
        registration = replace(worker.registration, room=Room(residents=residents))
        with self.database.write() as store:
            before = self.checker.see(store)
            try:
                given = scheduling.lease(store, registration, self.now)
            except StaleAttempt:
                return
            self.checker.granted(before, given, self.now)
        if given is not None and is_heard:
            done = 0
            if given.resume_from:
                done = int(given.resume_from[0].name.split("-")[1])
            worker.runs.append(Run(assignment=given, step=done))

    def _work(self, worker: Worker, run: Run, outcome: str, fate: str) -> None:
        """One batch of reports; what was not answered is sent again, as it was."""
        batch = run.unanswered
        if batch is None:
            run.sequence += 1
            batch = ReportBatch(sequence=run.sequence, reports=self._reports(run, outcome))
            run.unanswered = batch
        self.sent.append((run.assignment.job_id, run.assignment.attempt, batch))
        if fate == "unheard":
            return
        wanted = self._deliver(run.assignment.job_id, run.assignment.attempt, batch)
        if fate == "unanswered":
            return
        run.unanswered = None
        is_over = wanted == "stale" or any(_ends(report) for report in batch.reports)
        if is_over:
            worker.runs.remove(run)
        run.is_pausing = wanted is Wish.PAUSE

    def _deliver(self, job_id: UUID, attempt: int, batch: ReportBatch) -> object:
        try:
            with self.database.write() as store:
                receipt = leases.record(store, self.blobs, job_id, attempt, batch, self.now)
        except StaleAttempt:
            self.checker.rejected(job_id, attempt)
            return "stale"
        self.checker.accepted(job_id, attempt, batch, self.now)
        return receipt.wanted

    def _reports(self, run: Run, outcome: str) -> tuple[Report, ...]:
        match outcome:
            case "lost":
                return (AttemptLost(reason="the host ended"),)
            case "failed":
                return (TrainingFailed(failure=Failure(code="diverged", message="Nan.")),)
            case "left":
                return (AttemptReleased(),)
        if run.assignment.task is Task.VALIDATE:
            return (Validated(num_examples=5),)
        if run.is_pausing and run.step:
            return (self._saved(run.step), AttemptReleased())
        reports: list[Report] = []
        if run.sequence == 1:
            began = TrainingStarted(
                step=run.step,
                total_steps=TOTAL_STEPS,
                num_examples=5,
            )
            reports.append(began)
        last = TOTAL_STEPS if outcome == "done" else min(run.step + 1, TOTAL_STEPS - 1)
        for step in range(run.step + 1, last + 1):
            reports.append(StepReported(metrics=metrics(step, TOTAL_STEPS)))
        run.step = last
        if outcome == "checkpoint" and run.step:
            reports.append(self._saved(run.step))
        if outcome == "done":
            final = (artifact(self.blobs),)
            reports.append(TrainingFinished(step=last, trained_tokens=1, artifacts=final))
        return tuple(reports)

    def _saved(self, step: int) -> CheckpointPublished:
        state = artifact(self.blobs, f"state-{step}")
        epoch = 1 if step == TOTAL_STEPS - 1 else None
        return CheckpointPublished(step=step, epoch=epoch, artifacts=(state,))

    def _sweep(self) -> None:
        with self.database.write() as store:
            before = self.checker.see(store)
            scheduling.end_silent(store, self.now)
            self.checker.swept(store, before, self.now)

    def _as(self, owner: Organization, action: Any) -> Any:
        with self.database.write() as store:
            return action(context(store, self.house, owner))

    def _on(self, job_id: UUID, action: Any) -> None:
        owner = next(o for o in self.owners if o.id == self.checker.jobs[job_id].owner)
        try:
            job = self._as(owner, lambda ctx: action(ctx, job_id))
        except (Conflict, NotFound, QuotaExceeded):
            return
        self.checker.changed(job_id, action, job)

    def _new_worker(self, name: str) -> Worker:
        self._num_named += 1
        incarnation = uuid5(_NAMES, str(self._num_named))
        registration = Registration(name=name, incarnation=incarnation, version="0")
        return Worker(registration=registration, capacity=self.rng.randint(1, 2))

    def _check(self) -> None:
        with self.database.read() as store:
            self.checker.check(store)


def _prioritize(ctx: Context, job_id: UUID) -> None:
    quotas.prioritize(ctx, job_id, 1 + job_id.int % 5)


def _ends(report: Report) -> bool:
    return isinstance(
        report, Validated | TrainingFinished | TrainingFailed | AttemptLost | AttemptReleased
    )
