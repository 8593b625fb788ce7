"""What workers report about the jobs that they hold, fenced by (job, attempt)."""

import csv
import io
from dataclasses import asdict, replace
from datetime import datetime, timedelta
from math import isfinite
from typing import assert_never
from uuid import UUID, uuid4

from tunesmith import metrics
from tunesmith.domain.assignments import (
    LEASE_SECONDS,
    AttemptHalted,
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    DataRead,
    Receipt,
    Report,
    ReportBatch,
    StepReported,
    TrainingEndedEarly,
    TrainingFailed,
    TrainingFinished,
    TrainingHealed,
    TrainingStarted,
    Validated,
    Wish,
)
from tunesmith.domain.errors import InvalidRequest, NotFound, StaleAttempt
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.files import Artifact, File, FilePurpose
from tunesmith.domain.jobs import Job, Progress, Task
from tunesmith.services import checkpoints, deployments, estimates, scheduling
from tunesmith.services.jobs import tell
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store
from tunesmith.store.queue import Lease


def record(
    store: Store, blobs: Blobs, job_id: UUID, attempt: int, batch: ReportBatch, now: datetime
) -> Receipt:
    """Store a batch and renew its lease; raises `StaleAttempt` where the lease is over.

    A batch that was stored before is passed over, so that it may be sent again.
    """
    _lock(store, job_id, attempt)
    expires_at = now + timedelta(seconds=LEASE_SECONDS)
    lease = store.queue.renew(job_id, attempt, expires_at)
    if lease is None:
        metrics.FENCED_WRITES.inc()
        raise _over(job_id, attempt)
    if batch.host_memory_bytes is not None:
        metrics.RUNNING.host_has(lease.worker, batch.host_memory_bytes)
    if batch.sequence > lease.batches_stored:
        store.queue.batch_stored(job_id, batch.sequence)
        for report in batch.reports:
            _record_one(store, blobs, lease, report, now)
    job = store.jobs.get_for_worker(job_id)
    return Receipt(wanted=Wish.PAUSE if job.is_pause_wanted else None)


def _lock(store: Store, job_id: UUID, attempt: int) -> None:
    """The job's row before its entry's, as whoever stops or pauses the job does."""
    try:
        store.jobs.get_for_worker(job_id)
    except NotFound:
        raise _over(job_id, attempt) from None


def _over(job_id: UUID, attempt: int) -> StaleAttempt:
    return StaleAttempt(f"Attempt {attempt} of job {job_id} is over.")


def _record_one(store: Store, blobs: Blobs, lease: Lease, report: Report, now: datetime) -> None:
    job = store.jobs.get_for_worker(lease.job_id)
    match report:
        case Validated():
            _validated(store, job, report, now)
        case TrainingStarted():
            _started(store, job, report, now)
        case DataRead():
            _data_read(store, job, report, now)
        case StepReported():
            _step(store, job, report, now)
        case TrainingHealed():
            _healed(store, job, report, now)
        case CheckpointPublished():
            _checkpoint(store, blobs, job, report, now)
        case TrainingEndedEarly():
            _ended_early(store, job, report, now)
        case TrainingFinished():
            _finished(store, blobs, job, report, now)
            estimates.learn(store, job, lease.worker, now)
            _ended(job, "succeeded")
        case TrainingFailed():
            scheduling.end_as_failed(store, job, report.failure, now)
            _ended(job, "failed", report.failure.code)
        case AttemptLost():
            scheduling.lose(store, lease, report.reason, now, cause="host")
        case AttemptReleased():
            scheduling.release(store, lease, now)
            _ended(job, "released")
        case AttemptHalted():
            scheduling.halt(store, lease, report.reason, now)
            _ended(job, "halted")
        case _:
            assert_never(report)


def _ended(job: Job, outcome: str, cause: str = "") -> None:
    metrics.ATTEMPTS.labels(outcome, cause).inc()
    metrics.RUNNING.ended(job.id)


def _validated(store: Store, job: Job, report: Validated, now: datetime) -> None:
    resolved = job.hyperparameters.resolved(report.num_examples)
    store.jobs.replace(job, job.validated(resolved))
    store.queue.put_back(job.id, Task.TRAIN, now)
    tell(store, job, EventKind.VALIDATED, now=now, num_examples=report.num_examples)


def _started(store: Store, job: Job, report: TrainingStarted, now: datetime) -> None:
    is_first = not store.events.has(job.id, EventKind.STARTED)
    kind = EventKind.STARTED if is_first else EventKind.RESUMED
    tell(
        store,
        job,
        kind,
        now=now,
        step=report.step,
        total_steps=report.total_steps,
        startup_seconds=report.startup_seconds,
    )
    warmup_steps = job.hyperparameters.warmup_steps
    if is_first and warmup_steps is not None and warmup_steps > report.total_steps:
        tell(
            store,
            job,
            EventKind.NOTE,
            now=now,
            level=Level.WARNING,
            message=f"The warm-up of {warmup_steps} steps is longer than the run, which has "
            f"{report.total_steps}: the learning rate never reaches its peak.",
        )
    for note in report.notes:
        tell(store, job, EventKind.NOTE, now=now, message=note)


def _data_read(store: Store, job: Job, report: DataRead, now: datetime) -> None:
    """Nothing that should have been learnt is lost in silence."""
    if report.mask is not None:
        store.jobs.replace(job, replace(job, mask=report.mask))
    if report.num_truncated_examples:
        tell(
            store,
            job,
            EventKind.NOTE,
            now=now,
            level=Level.WARNING,
            message=f"{report.num_truncated_examples} of {report.num_examples} examples are longer "
            "than the model's context and were cut at the end.",
        )
    for note in report.notes:
        tell(store, job, EventKind.NOTE, now=now, level=Level.WARNING, message=note)


def _step(store: Store, job: Job, report: StepReported, now: datetime) -> None:
    told = asdict(report.metrics).items()
    figures = {name: figure for name, figure in told if figure is not None and isfinite(figure)}
    is_new = store.events.add(
        Event(
            id=uuid4(),
            job_id=job.id,
            created_at=now,
            kind=EventKind.STEP,
            step=report.metrics.step,
            data=figures,
        )
    )
    _observe(job, report, is_new=is_new)
    if is_new:
        store.shares.add_trained_tokens(job.organization_id, report.metrics.tokens, now)
    changed = replace(job, progress=_progress(job, report, figures, is_new=is_new))
    if report.remaining_seconds is not None:
        finish = now + timedelta(seconds=report.remaining_seconds)
        changed = replace(changed, estimated_finish_at=finish)
    store.jobs.replace(job, changed)


def _observe(job: Job, report: StepReported, *, is_new: bool) -> None:
    told = report.metrics
    if is_new:
        metrics.TRAINED_TOKENS.inc(told.tokens)
    if told.seconds > 0:
        speed = told.tokens / told.seconds
        loss = told.train_loss if isfinite(told.train_loss) else None
        metrics.RUNNING.stepped(job.id, loss=loss, tokens_per_second=speed)


def _healed(store: Store, job: Job, report: TrainingHealed, now: datetime) -> None:
    """Steps that are told again replace their figures."""
    if report.went_back:
        checkpoints.forget_after(store, job, report.step)
    message = report.message
    tell(store, job, EventKind.NOTE, now=now, level=Level.WARNING, message=message)


def _progress(
    job: Job, report: StepReported, figures: dict[str, float], *, is_new: bool
) -> Progress:
    before = job.progress
    known = None if before is None else before.validation_loss
    tokens = 0 if before is None else before.tokens
    return Progress(
        step=report.metrics.step,
        total_steps=report.metrics.total_steps,
        tokens=tokens + (report.metrics.tokens if is_new else 0),
        train_loss=figures.get("train_loss"),
        validation_loss=figures.get("full_validation_loss", figures.get("validation_loss", known)),
    )


def _checkpoint(
    store: Store, blobs: Blobs, job: Job, report: CheckpointPublished, now: datetime
) -> None:
    _require_stored(blobs, report.artifacts)
    checkpoints.record(store, job, report, now)


def _ended_early(store: Store, job: Job, report: TrainingEndedEarly, now: datetime) -> None:
    best = report.best_validation_loss
    message = (
        f"Training ends early, after step {report.step} of {report.total_steps}: the validation "
        f"loss was {'no number' if best is None else f'{best:.4g}'} at its best, and has not "
        f"fallen in the last {report.num_evaluations} epochs. The model has the last weights; "
        "those of the best epoch are that epoch's checkpoint."
    )
    tell(store, job, EventKind.NOTE, now=now, message=message)


def _finished(
    store: Store, blobs: Blobs, job: Job, report: TrainingFinished, now: datetime
) -> None:
    """Everything that a finished job has is there in the transaction that calls it finished."""
    _require_stored(blobs, report.artifacts)
    model = checkpoints.add_final(store, job, report, now)
    store.adapters.settle(job.id, model.id, now)
    results = _add_results(store, blobs, job, now)
    store.jobs.replace(
        job,
        job.succeeded(
            tuned_model_short_id=model.short_id,
            model_name=deployments.name_model(store, job, model, now),
            results_file_id=results.id,
            trained_tokens=report.trained_tokens,
            now=now,
        ),
    )
    store.queue.remove(job.id, now)
    short_id = model.short_id
    tell(store, job, EventKind.MODEL_CREATED, now=now, tuned_model_short_id=short_id)
    tell(store, job, EventKind.SUCCEEDED, now=now)


def _add_results(store: Store, blobs: Blobs, job: Job, now: datetime) -> File:
    """A table of the metrics, one row a step."""
    columns = {
        "step": "step",
        "train_loss": "train_loss",
        "train_accuracy": "train_token_accuracy",
        "valid_loss": "validation_loss",
        "valid_mean_token_accuracy": "validation_token_accuracy",
    }
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    for figures in store.events.list_metrics(job.id):
        writer.writerow(figures.get(key, "") for key in columns.values())
    file = File(
        id=uuid4(),
        organization_id=job.organization_id,
        filename="step_metrics.csv",
        purpose=FilePurpose.RESULTS,
        blob=blobs.put(table.getvalue().encode()),
        created_at=now,
    )
    store.files.add(file)
    return file


def _require_stored(blobs: Blobs, artifacts: tuple[Artifact, ...]) -> None:
    for artifact in artifacts:
        if not blobs.has(artifact.blob.sha256):
            raise InvalidRequest(f"The bytes of {artifact.name!r} have not been uploaded.")
