"""One attempt at a job: drive the host, tell the server, end in good order."""

import queue
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import structlog

from tunesmith.domain.assignments import (
    Assignment,
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    StepReported,
    TrainingFailed,
    TrainingFinished,
    TrainingStarted,
    Validated,
)
from tunesmith.domain.datasets import DatasetSummary
from tunesmith.domain.errors import TunesmithError
from tunesmith.domain.events import Metrics
from tunesmith.domain.jobs import Failure, Task
from tunesmith.engine import events
from tunesmith.engine.messages import AbandonRun, OpenRun, RunEvent, RunFailed, StopRun
from tunesmith.worker.client import Client
from tunesmith.worker.placing import Host, HostLost, Hosts, ModelRefused, NoRoom, RunQueue
from tunesmith.worker.prepare import Workshop, check_data, data_failure
from tunesmith.worker.reporter import Reporter, artifacts_of

log = structlog.get_logger()

_LOOK_SECONDS = 0.5  # how often an attempt looks whether it should end
_PACE_MEMORY = 0.9  # of the smoothed time a step takes, per step


class Attempts:
    """Carries out what the server assigns, one assignment after another."""

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

    def carry_out(self, assignment: Assignment) -> None:
        """Returns when the attempt is over, however it ended."""
        job = str(assignment.job_id)
        with structlog.contextvars.bound_contextvars(job=job, attempt=assignment.attempt):
            self._carry_out(assignment)

    def _carry_out(self, assignment: Assignment) -> None:
        log.info("attempt", task=assignment.task.value)
        reporter = Reporter(self._client, assignment)
        folder = self._workshop.attempt_folder(assignment)
        try:
            if assignment.task is Task.VALIDATE:
                self._validate(assignment, reporter)
            else:
                self._train(assignment, reporter)
        except (TunesmithError, OSError) as error:
            log.warning("attempt lost", reason=str(error))
            reporter.add(AttemptLost(reason=str(error)))
        finally:
            reporter.close(self._is_leaving)
            shutil.rmtree(folder, ignore_errors=True)

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
        try:
            host = self._place(assignment, reporter)
        except ModelRefused as error:
            failure = Failure(code=error.code, message=error.message, param="model")
            reporter.add(TrainingFailed(failure=failure))
            return
        if host is None:
            reporter.add(AttemptReleased())
            return
        reporter.host_pid = host.pid
        with _followed(host, spec.run_id) as told:
            host.send(OpenRun(spec=spec))
            self._follow(host, spec.run_id, told, _Pace(began_at), reporter)

    def _place(self, assignment: Assignment, reporter: Reporter) -> Host | None:
        """Wait for room; None where the worker is leaving or the job is wanted no more."""
        base = assignment.base_model
        while not (reporter.is_stale or self._should_let_go(reporter)):
            try:
                return self._hosts.place(base, lambda: self._workshop.model_folder(base))
            except NoRoom:
                self._is_leaving.wait(_LOOK_SECONDS)
        return None

    def _follow(
        self, host: Host, run_id: str, told: RunQueue, pace: "_Pace", reporter: Reporter
    ) -> None:
        """Tell the server what the host tells, until the run is over."""
        has_asked_to_stop = False
        while True:
            if reporter.is_stale:
                host.send(AbandonRun(run_id=run_id))
                return
            if self._should_let_go(reporter) and not has_asked_to_stop:
                host.send(StopRun(run_id=run_id))
                has_asked_to_stop = True
            try:
                message = told.get(timeout=_LOOK_SECONDS)
            except queue.Empty:
                continue
            if self._report(message, pace, reporter):
                return

    def _should_let_go(self, reporter: Reporter) -> bool:
        """At a checkpoint: the worker is leaving or cut off, or the job is to be paused."""
        is_cut_off = reporter.offline_seconds > self._max_offline_seconds
        return self._is_leaving.is_set() or is_cut_off or reporter.is_pause_wanted

    def _report(
        self, message: RunEvent | RunFailed | HostLost, pace: "_Pace", reporter: Reporter
    ) -> bool:
        """Whether the run is over."""
        match message:
            case HostLost(reason=reason):
                reporter.add(AttemptLost(reason=f"the host ended ({reason})"))
                return True
            case RunFailed():
                reporter.add(TrainingFailed(failure=_failure(message)))
                return True
            case RunEvent(event=event):
                return _report_event(event, pace, reporter)


def _report_event(event: events.TrainEvent, pace: "_Pace", reporter: Reporter) -> bool:
    match event:
        case events.Started():
            reporter.add(
                TrainingStarted(
                    step=event.step,
                    total_steps=event.total_steps,
                    num_examples=event.num_examples,
                    num_truncated_examples=event.num_truncated_examples,
                    notes=event.notes,
                    startup_seconds=pace.seconds_so_far,
                )
            )
        case events.StepDone():
            remaining = pace.remaining_seconds(event)
            reporter.add(StepReported(metrics=_metrics(event), remaining_seconds=remaining))
        case events.Reading() | events.Evaluating():
            pass
        case events.CheckpointSaved():
            published = CheckpointPublished(
                step=event.step, epoch=event.epoch, artifacts=artifacts_of(event.path)
            )
            reporter.add(published, event.path)
        case events.Stopped():
            if event.path is not None and not reporter.has_checkpoint(event.step):
                artifacts = artifacts_of(event.path)
                published = CheckpointPublished(step=event.step, epoch=None, artifacts=artifacts)
                reporter.add(published, event.path)
            reporter.add(AttemptReleased())
            return True
        case events.Finished():
            finished = TrainingFinished(
                step=event.step,
                trained_tokens=event.trained_tokens,
                artifacts=artifacts_of(event.path),
            )
            reporter.add(finished, event.path)
            return True
    return False


@contextmanager
def _followed(host: Host, run_id: str) -> Iterator[RunQueue]:
    told = host.follow(run_id)
    try:
        yield told
    finally:
        host.unfollow(run_id)


class _Pace:
    """How long the steps take, evaluations and saves included, smoothed."""

    def __init__(self, began_at: float) -> None:
        self._began_at = began_at
        self._last: float | None = None
        self._seconds: float | None = None

    @property
    def seconds_so_far(self) -> float:
        return time.monotonic() - self._began_at

    def remaining_seconds(self, done: events.StepDone) -> float:
        now = time.monotonic()
        taken = done.seconds if self._last is None else now - self._last
        self._last = now
        if self._seconds is None:
            self._seconds = taken
        self._seconds = _PACE_MEMORY * self._seconds + (1 - _PACE_MEMORY) * taken
        return self._seconds * (done.total_steps - done.step)


def _metrics(done: events.StepDone) -> Metrics:
    return Metrics(
        step=done.step,
        total_steps=done.total_steps,
        train_loss=done.loss,
        train_token_accuracy=done.token_accuracy,
        learning_rate=done.learning_rate,
        grad_norm=done.grad_norm,
        tokens=done.num_tokens,
        seconds=done.seconds,
        validation_loss=done.validation_loss,
        validation_token_accuracy=done.validation_token_accuracy,
        full_validation_loss=done.full_validation_loss,
        full_validation_token_accuracy=done.full_validation_token_accuracy,
        chosen_reward=done.chosen_reward,
        rejected_reward=done.rejected_reward,
        reward_accuracy=done.reward_accuracy,
        reward_margin=done.reward_margin,
    )


def _failure(failed: RunFailed) -> Failure:
    if failed.file is not None:
        return data_failure(failed.file, failed.code, failed.message, failed.line)
    return Failure(code=failed.code, message=failed.message)
