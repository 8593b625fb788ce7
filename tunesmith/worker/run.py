"""One run on a host, followed to its end: what the host tells becomes reports."""

import math
import queue
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.domain.assignments import (
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    DataRead,
    StepReported,
    TrainingEndedEarly,
    TrainingFailed,
    TrainingFinished,
    TrainingHealed,
    TrainingStarted,
)
from tunesmith.domain.errors import DiskFull
from tunesmith.domain.events import Metrics
from tunesmith.domain.jobs import Failure, MaskCertificate
from tunesmith.domain.rules import Rule
from tunesmith.engine import events
from tunesmith.engine.messages import (
    TOO_MANY_RUNS,
    AbandonRun,
    OpenRun,
    RunEvent,
    RunFailed,
    StopRun,
)
from tunesmith.engine.spec import TrainSpec
from tunesmith.worker.host import Host, HostLost, RunQueue
from tunesmith.worker.job_lock import JobLock
from tunesmith.worker.prepare import data_failure
from tunesmith.worker.reporter import Reporter, artifacts_of

_LOOK_SECONDS = 0.5  # how often an attempt looks whether it should end
_PACE_MEMORY = 0.9  # of the smoothed time a step takes, per step


class Run:
    """`began_at` is when its attempt did, by the monotonic clock."""

    def __init__(
        self, host: Host, spec: TrainSpec, lock: JobLock, reporter: Reporter, began_at: float
    ) -> None:
        self._host = host
        self._spec = spec
        self._lock = lock
        self._reporter = reporter
        self._pace = _Pace(began_at)

    def follow(self, should_let_go: Callable[[], bool]) -> None:
        """From its opening to its end, however it ends; raises `DiskFull`."""
        run_id = self._spec.run_id
        with _followed(self._host, run_id) as told:
            self._host.send(OpenRun(spec=self._spec))
            has_asked_to_stop = False
            is_over = False
            while not is_over:
                if self._reporter.is_stale:
                    self._host.send(AbandonRun(run_id=run_id))
                    return
                if should_let_go() and not has_asked_to_stop:
                    self._host.send(StopRun(run_id=run_id))
                    has_asked_to_stop = True
                try:
                    message = told.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    continue
                is_over = self._hear(message)

    def _hear(self, message: RunEvent | RunFailed | HostLost) -> bool:
        """Whether the run is over."""
        match message:
            case HostLost(reason=reason):
                self._reporter.add(AttemptLost(reason=f"the host ended ({reason})"))
                return True
            case RunFailed(code=code) if code == TOO_MANY_RUNS:
                self._reporter.add(AttemptReleased())
                return True
            case RunFailed(code=code) if code == DiskFull.code:
                raise DiskFull(message.message)
            case RunFailed():
                self._reporter.add(TrainingFailed(failure=_failure(message)))
                return True
            case RunEvent(event=event):
                return self._report(event)

    def _report(self, event: events.TrainEvent) -> bool:
        match event:
            case events.Started():
                self._lock.from_step = event.step
                self._reporter.add(_started(event, self._pace.seconds_so_far))
            case events.DataRead():
                self._lock.mask = MaskCertificate(
                    sha256=event.mask_sha256,
                    tokens_per_epoch=event.tokens_per_epoch,
                    trained_tokens_per_epoch=event.supervised_tokens_per_epoch,
                )
                self._reporter.add(
                    DataRead(
                        num_examples=event.num_examples,
                        num_truncated_examples=event.num_truncated_examples,
                        mask=self._lock.mask,
                        notes=event.notes,
                    )
                )
            case events.StepDone():
                remaining = self._pace.remaining_seconds(event)
                metrics = _metrics(event)
                self._reporter.add(StepReported(metrics=metrics, remaining_seconds=remaining))
            case events.Healed():
                went_back = event.kind == "rolled_back"
                self._reporter.add(
                    TrainingHealed(step=event.step, went_back=went_back, message=event.message)
                )
            case events.Reading() | events.Evaluating():
                pass
            case events.CheckpointSaved():
                self._publish(event.step, event.epoch, event.path)
                self._forget_older()
            case events.EndedEarly():
                self._reporter.add(_ended_early(event))
            case events.Stopped():
                if event.path is not None and not self._reporter.has_checkpoint(event.step):
                    self._publish(event.step, None, event.path)
                self._reporter.add(AttemptReleased())
                return True
            case events.Finished():
                self._write_lock(event.path, event.step)
                finished = TrainingFinished(
                    step=event.step,
                    trained_tokens=event.trained_tokens,
                    artifacts=artifacts_of(event.path),
                )
                self._reporter.add(finished, event.path)
                return True
        return False

    def _publish(self, step: int, epoch: int | None, folder: Path) -> None:
        if folder != self._spec.resume_from:  # which has the lock that it came with
            self._write_lock(folder, step)
        artifacts = artifacts_of(folder)
        report = CheckpointPublished(step=step, epoch=epoch, artifacts=artifacts)
        self._reporter.add(report, folder)

    def _write_lock(self, folder: Path, step: int) -> None:
        was_accompanied = self._host.was_accompanied(self._spec.run_id)
        self._lock.write(folder, step, was_accompanied=was_accompanied)

    def _forget_older(self) -> None:
        """What the run went on from is not needed once it has a checkpoint of its own."""
        if self._spec.resume_from is not None:
            shutil.rmtree(self._spec.resume_from, ignore_errors=True)


@contextmanager
def _followed(host: Host, run_id: str) -> Iterator[RunQueue]:
    told = host.follow(run_id)
    try:
        yield told
    finally:
        host.unfollow(run_id)


def _started(event: events.Started, startup_seconds: float) -> TrainingStarted:
    return TrainingStarted(
        step=event.step,
        total_steps=event.total_steps,
        num_examples=event.num_examples,
        notes=event.notes,
        startup_seconds=startup_seconds,
    )


def _ended_early(event: events.EndedEarly) -> TrainingEndedEarly:
    best = event.best_validation_loss
    return TrainingEndedEarly(
        step=event.step,
        total_steps=event.total_steps,
        num_evaluations=event.num_evaluations,
        best_validation_loss=best if math.isfinite(best) else None,
    )


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
        return data_failure(
            failed.file, failed.code, failed.message, failed.line, rule=Rule.NOT_LEARNABLE
        )
    return Failure(code=failed.code, message=failed.message)
