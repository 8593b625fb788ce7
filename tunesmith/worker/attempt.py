"""One attempt at a job: prepare it, have a host do it, tell the server, end in good order."""

import shutil
import threading
import time
from dataclasses import replace
from uuid import UUID

import structlog

from tunesmith.domain.assignments import (
    Assignment,
    AttemptHalted,
    AttemptLost,
    AttemptReleased,
    TrainingFailed,
    TrainingHealed,
    Validated,
)
from tunesmith.domain.datasets import DatasetSummary
from tunesmith.domain.disk import full_disk_named
from tunesmith.domain.errors import DiskFull, TunesmithError
from tunesmith.domain.jobs import Failure, Task
from tunesmith.engine.spec import TrainSpec
from tunesmith.tracing import spans
from tunesmith.worker.client import Client
from tunesmith.worker.host import ModelRefused
from tunesmith.worker.job_lock import JobLock
from tunesmith.worker.placing import Hosts, NoRoom
from tunesmith.worker.prepare import Workshop, check_data
from tunesmith.worker.reporter import Reporter
from tunesmith.worker.run import Run

log = structlog.get_logger()


class Attempts:
    """Carries out what the server assigns: any number of assignments side by side."""

    def __init__(
        self,
        client: Client,
        hosts: Hosts,
        workshop: Workshop,
        *,
        checkpoint_seconds: float,
        max_offline_seconds: float,
        is_leaving: threading.Event,
    ) -> None:
        self._client = client
        self._hosts = hosts
        self._workshop = workshop
        self._checkpoint_seconds = checkpoint_seconds
        self._max_offline_seconds = max_offline_seconds
        self._is_leaving = is_leaving
        self._open: set[Reporter] = set()

    @property
    def num_open(self) -> int:
        return len(self._open)

    @property
    def num_untold(self) -> int:
        """Those that the server believes to be under way."""
        return sum(not reporter.is_told for reporter in list(self._open))

    def ask_again(self, job_id: UUID) -> None:
        """Something else may be wanted of a job."""
        for reporter in list(self._open):
            if reporter.job_id == job_id:
                reporter.ask()

    def give_back_all(self) -> None:
        """As they are; whoever carries them out need not be waited for."""
        for reporter in list(self._open):
            reporter.give_back()

    def carry_out(self, assignment: Assignment) -> None:
        """Returns when the attempt is over, however it ended."""
        job = str(assignment.job_id)
        with (
            structlog.contextvars.bound_contextvars(job=job, attempt=assignment.attempt),
            spans.span("attempt", assignment.traceparent) as span,
        ):
            span.add(job=job, attempt=assignment.attempt, task=assignment.task.value)
            self._carry_out(replace(assignment, traceparent=span.traceparent))

    def _carry_out(self, assignment: Assignment) -> None:
        log.info("attempt", task=assignment.task.value)
        reporter = Reporter(self._client, assignment)
        self._open.add(reporter)
        folder = self._workshop.attempt_folder(assignment)
        try:
            with full_disk_named():
                folder.mkdir(parents=True, exist_ok=True)
                if assignment.task is Task.VALIDATE:
                    self._validate(assignment, reporter)
                else:
                    self._train(assignment, reporter)
        except DiskFull as error:
            self._make_room_or_halt(assignment, reporter, error)
        except (TunesmithError, OSError) as error:
            log.warning("attempt lost", reason=str(error))
            reporter.add(AttemptLost(reason=str(error)))
        finally:
            reporter.close(self._is_leaving)
            self._open.discard(reporter)
            shutil.rmtree(folder, ignore_errors=True)

    def hand_back(self, assignment: Assignment) -> None:
        """Not begun: there is no room for it any more."""
        reporter = Reporter(self._client, assignment)
        reporter.add(AttemptReleased())
        reporter.close(self._is_leaving)

    def _validate(self, assignment: Assignment, reporter: Reporter) -> None:
        folder = self._workshop.attempt_folder(assignment)
        verdict = check_data(*self._workshop.fetch_data(assignment, folder), assignment.method)
        if isinstance(verdict, DatasetSummary):
            reporter.add(Validated(num_examples=verdict.num_examples))
        else:
            reporter.add(TrainingFailed(failure=verdict))

    def _train(self, assignment: Assignment, reporter: Reporter) -> None:
        began_at = time.monotonic()
        folder = self._workshop.attempt_folder(assignment)
        spec = self._workshop.train_spec(assignment, folder, self._checkpoint_seconds)
        if self._should_let_go(reporter):
            reporter.add(AttemptReleased())
            return
        base, owner = assignment.base_model, assignment.host_owner
        try:
            host = self._hosts.place(base, lambda: self._workshop.model_folder(base), owner)
        except ModelRefused as error:
            failure = Failure(code=error.code, message=error.message, param="model")
            reporter.add(TrainingFailed(failure=failure))
            return
        except NoRoom:
            reporter.add(AttemptReleased())
            return
        reporter.host_pid = host.pid
        spec = self._with_smaller_passes(spec, assignment, reporter)
        base_folder = self._workshop.model_folder(base)
        lock = JobLock(
            assignment=assignment,
            spec=spec,
            machine=self._hosts.machine_of(host),
            base_digests=self._workshop.base_digests.begin(base, base_folder),
            base_folder=base_folder,
        )
        run = Run(host, spec, lock, reporter, began_at)
        try:
            run.follow(lambda: self._should_let_go(reporter))
        finally:
            if owner:
                self._hosts.end(base, owner)

    def _with_smaller_passes(
        self, spec: TrainSpec, assignment: Assignment, reporter: Reporter
    ) -> TrainSpec:
        """Where hosts of this base model have lacked memory."""
        num_halvings = self._hosts.num_halvings(assignment.base_model, assignment.host_owner)
        if num_halvings == 0:
            return spec
        spec = replace(spec, micro_batch_tokens=spec.micro_batch_tokens >> num_halvings)
        message = (
            "The system ended the process that trains on this model, as the machine's memory did "
            f"not suffice. Passes have at most {spec.micro_batch_tokens} tokens now; steps are as "
            "large as before."
        )
        reporter.add(TrainingHealed(step=0, went_back=False, message=message))
        return spec

    def _should_let_go(self, reporter: Reporter) -> bool:
        """At a checkpoint: the worker is leaving, or cut off, or the job is to be paused."""
        is_cut_off = reporter.offline_seconds > self._max_offline_seconds
        return (
            self._is_leaving.is_set()
            or is_cut_off
            or reporter.is_pause_wanted
            or reporter.is_server_full
            or reporter.is_stale
        )

    def _make_room_or_halt(
        self, assignment: Assignment, reporter: Reporter, error: DiskFull
    ) -> None:
        """Try again where something could be removed; else only a person can help."""
        log.warning("disk full", reason=error.message)
        if self._workshop.make_room(self._hosts.room().residents):
            reporter.add(AttemptReleased())
        else:
            reporter.add(AttemptHalted(reason=self._workshop.shortage(assignment)))
