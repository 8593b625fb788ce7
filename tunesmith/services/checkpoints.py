"""Which checkpoints of a job are kept, and the models that they are."""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

from tunesmith.domain.assignments import CheckpointPublished, TrainingFinished
from tunesmith.domain.events import EventKind
from tunesmith.domain.files import Artifact
from tunesmith.domain.jobs import Checkpoint, Job
from tunesmith.domain.models import TunedModel, new_short_id
from tunesmith.services.jobs import tell
from tunesmith.store.database import Store

KEPT_EPOCHS = 3
_STATE_OF_TRAINING = (
    "optimizer.safetensors",
    "last_good.safetensors",
    "training_state.json",
    "manifest.json",
)


def record(store: Store, job: Job, report: CheckpointPublished, now: datetime) -> None:
    """Keep the newest to go on from, and the last three epochs' to answer."""
    known = _find(store, job, report.step)
    store.queue.progress_made(job.id)
    if known is not None and (known.epoch, known.tuned_model_short_id) != (None, None):
        return  # told before; it answers under its name
    checkpoint = _made(store, job, report.step, report.epoch, report.artifacts, now)
    is_last = report.step == checkpoint.metrics.get("total_steps")  # the job's own model, soon
    if report.epoch is not None and not is_last:
        checkpoint = _with_name(store, job, checkpoint, now)
    store.jobs.add_checkpoint(checkpoint)
    if checkpoint.tuned_model_short_id is not None:
        tell(store, job, EventKind.CHECKPOINT, now=now, **model_of(checkpoint))
    _retire(store, job)


def forget_after(store: Store, job: Job, step: int) -> None:
    """The training went back to a step: what it goes on from must not lie behind that, and epochs
    that are done again end anew. Snapshots of pauses stay.
    """
    for checkpoint in store.jobs.all_checkpoints(job.id):
        if checkpoint.step > step and not _is_of_pause(checkpoint):
            _delete(store, job, checkpoint)


def name_newest(store: Store, job: Job, now: datetime) -> Checkpoint | None:
    """Let the newest checkpoint, if there is one, answer by name."""
    newest = store.jobs.all_checkpoints(job.id)[-1:]
    if not newest or newest[0].tuned_model_short_id is not None:
        return newest[0] if newest else None
    named = _with_name(store, job, newest[0], now)
    store.jobs.add_checkpoint(named)
    return named


def model_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The model that a checkpoint is, as events tell it."""
    short_id = checkpoint.tuned_model_short_id
    return {"at_step": checkpoint.step, "tuned_model_short_id": short_id}


def add_final(store: Store, job: Job, report: TrainingFinished, now: datetime) -> TunedModel:
    """The job's own model, which is its last checkpoint, too."""
    model = _add_model(store, job, report.artifacts, None, now)
    last = _find(store, job, report.step)
    if last is None:
        last = _made(store, job, report.step, None, report.artifacts, now)
    store.jobs.add_checkpoint(replace(last, tuned_model_short_id=model.short_id))
    return model


def _find(store: Store, job: Job, step: int) -> Checkpoint | None:
    there = (c for c in store.jobs.all_checkpoints(job.id) if c.step == step)
    return next(there, None)


def _made(
    store: Store,
    job: Job,
    step: int,
    epoch: int | None,
    artifacts: tuple[Artifact, ...],
    now: datetime,
) -> Checkpoint:
    return Checkpoint(
        id=uuid4(),
        job_id=job.id,
        step=step,
        epoch=epoch,
        artifacts=artifacts,
        tuned_model_short_id=None,
        metrics=store.events.metrics_of_step(job.id, step) or {},
        created_at=now,
    )


def _with_name(store: Store, job: Job, checkpoint: Checkpoint, now: datetime) -> Checkpoint:
    model = _add_model(store, job, checkpoint.artifacts, checkpoint.step, now)
    return replace(checkpoint, tuned_model_short_id=model.short_id)


def _add_model(
    store: Store, job: Job, artifacts: tuple[Artifact, ...], step: int | None, now: datetime
) -> TunedModel:
    organization = store.accounts.get_organization(job.organization_id)
    model = TunedModel(
        id=uuid4(),
        short_id=new_short_id(),
        organization_id=organization.id,
        organization_slug=organization.slug,
        job_id=job.id,
        base_model=job.base_model,
        suffix=job.suffix,
        step=step,
        artifacts=tuple(a for a in artifacts if a.name not in _STATE_OF_TRAINING),
        created_at=now,
    )
    store.models.add_tuned(model)
    return model


def _retire(store: Store, job: Job) -> None:
    """Snapshots of pauses stay: somebody asked for each of them."""
    checkpoints = store.jobs.all_checkpoints(job.id)
    epochs = [c for c in checkpoints if c.epoch is not None]
    kept = {c.id for c in (*checkpoints[-1:], *epochs[-KEPT_EPOCHS:])}
    for checkpoint in checkpoints:
        if checkpoint.id not in kept and not _is_of_pause(checkpoint):
            _delete(store, job, checkpoint)


def _is_of_pause(checkpoint: Checkpoint) -> bool:
    return checkpoint.epoch is None and checkpoint.tuned_model_short_id is not None


def _delete(store: Store, job: Job, checkpoint: Checkpoint) -> None:
    """With the model that it is, where it has a name."""
    store.jobs.delete_checkpoint(checkpoint.id)
    if checkpoint.tuned_model_short_id is not None:
        model = store.models.find_tuned(checkpoint.tuned_model_short_id, job.organization_id)
        if model is not None:
            store.models.delete_tuned(model.id)
