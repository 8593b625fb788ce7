"""Wire <-> domain: jobs, their statuses, failures, events and checkpoints."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from tunesmith.dialects.openai import schemas_jobs as schemas
from tunesmith.dialects.openai.translate import (
    file_id,
    inner_id,
    model_name,
    outer_id,
    seconds,
    tuned_model_name,
)
from tunesmith.domain import datasets
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.hyperparameters import AUTO, Hyperparameters, Method
from tunesmith.domain.jobs import (
    Checkpoint,
    Failure,
    Integration,
    Job,
    JobFilter,
    JobStatus,
    NewJob,
)
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import Page

_STATUSES = {
    JobStatus.DRAFT: "validating_files",
    JobStatus.VALIDATING: "validating_files",
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.PAUSED: "paused",
    JobStatus.SUCCEEDED: "succeeded",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "cancelled",
}
_LEVELS: dict[Level, Literal["info", "warn", "error"]] = {
    Level.INFO: "info",
    Level.WARNING: "warn",
    Level.ERROR: "error",
}
_BAD_FILE = {datasets.NOT_JSON_LINES, datasets.BAD_EXAMPLE, datasets.UNKNOWN_FORMAT}
_TOO_FEW = re.compile(r"has \d+ example\(s\), but must have at least \d+ examples")
_METRICS = {
    "train_token_accuracy": "train_mean_token_accuracy",
    "validation_loss": "valid_loss",
    "validation_token_accuracy": "valid_mean_token_accuracy",
    "full_validation_loss": "full_valid_loss",
    "full_validation_token_accuracy": "full_valid_mean_token_accuracy",
}
_CHECKPOINT_METRICS = {"step", "train_loss", *_METRICS.values()}
_DPO_METRICS = {
    "chosen_reward": "train_mean_chosen_reward",
    "rejected_reward": "train_mean_rejected_reward",
    "reward_accuracy": "train_mean_reward_accuracy",
    "reward_margin": "train_mean_reward_margin",
}


def new_job(body: schemas.CreateJob, initial_model: TunedModel | None) -> NewJob:
    """`initial_model` is the tuned model that the body names, if it does name one."""
    return NewJob(
        base_model=initial_model.base_model if initial_model else body.model,
        initial_model=initial_model,
        training_file_id=inner_id("file", body.training_file, param="training_file"),
        validation_file_id=(
            inner_id("file", body.validation_file, param="validation_file")
            if body.validation_file
            else None
        ),
        method=_method(body),
        hyperparameters=_hyperparameters(body),
        integrations=tuple(_integration(asked) for asked in body.integrations or ()),
        seed=body.seed,
        suffix=body.suffix,
        metadata=body.metadata,
    )


def job_filter(query: Iterable[tuple[str, str]]) -> JobFilter:
    """From `metadata[key]=value`, where `metadata[key]=` asks for an empty value.

    Jobs without any are asked for as `metadata=null`, and by OpenAI's Node client as `metadata=`.
    """
    pairs: list[tuple[str, str]] = []
    has_no_metadata = False
    for name, value in query:
        if name.startswith("metadata") and "\0" in name + value:
            raise InvalidRequest("metadata: no job has a NUL character there.", param="metadata")
        if name == "metadata":
            if value not in ("", "null"):
                raise InvalidRequest(
                    "metadata: ask for `metadata[key]=value`, or `metadata=null`.", param="metadata"
                )
            has_no_metadata = True
        elif name.startswith("metadata[") and name.endswith("]"):
            pairs.append((name.removeprefix("metadata[").removesuffix("]"), value))
    if len(pairs) > schemas.MAX_METADATA_PAIRS:
        message = f"metadata: at most {schemas.MAX_METADATA_PAIRS} pairs can be asked for."
        raise InvalidRequest(message, param="metadata")
    return JobFilter(metadata=tuple(pairs), has_no_metadata=has_no_metadata)


def job(job: Job, organization: Organization) -> schemas.Job:
    validation, is_running = job.validation_file, job.status is JobStatus.RUNNING
    finish = job.estimated_finish_at if is_running else None
    return schemas.Job(
        id=job_id(job),
        created_at=seconds(job.created_at),
        model=model_name(job.initial_model) if job.initial_model else job.base_model,
        organization_id=outer_id("org-", organization.id),
        status=status(job.status),
        training_file=file_id(job.training_file.file_id),
        validation_file=None if validation is None else file_id(validation.file_id),
        hyperparameters=_shown(job.hyperparameters),
        method=_shown_method(job),
        seed=job.seed,
        user_provided_suffix=job.suffix,
        metadata=job.metadata,
        integrations=[_shown_integration(integration) for integration in job.integrations],
        fine_tuned_model=_model_name(job, organization, job.tuned_model_short_id, None),
        finished_at=None if job.finished_at is None else seconds(job.finished_at),
        estimated_finish=None if finish is None else seconds(finish),
        trained_tokens=job.trained_tokens,
        result_files=[] if job.results_file_id is None else [file_id(job.results_file_id)],
        error=None if job.failure is None else _failure(job.failure),
    )


def status(status: JobStatus) -> str:
    return _STATUSES[status]


def jobs(page: Page[Job], organization: Organization) -> schemas.JobList:
    data = [job(item, organization) for item in page.items]
    return schemas.JobList(data=data, has_more=page.has_more)


def events(page: Page[Event], job: Job, organization: Organization) -> schemas.EventList:
    data = [_event(item, job, organization) for item in page.items]
    return schemas.EventList(data=data, has_more=page.has_more)


def checkpoints(
    page: Page[Checkpoint], job: Job, organization: Organization
) -> schemas.CheckpointList:
    data = [_checkpoint(item, job, organization) for item in page.items]
    return schemas.CheckpointList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


def job_id(job: Job) -> str:
    return outer_id("ftjob-", job.id)


def _method(body: schemas.CreateJob) -> Method:
    if body.method is None:
        return Method.SUPERVISED
    if body.method.type == "reinforcement":
        raise InvalidRequest(
            "The method 'reinforcement' is not available yet; use 'supervised' or 'dpo'.",
            param="method.type",
        )
    return Method(body.method.type)


def _hyperparameters(body: schemas.CreateJob) -> Hyperparameters:
    """A method's own come before the older, top-level ones."""
    method = body.method
    part = (method.supervised or method.dpo) if method else None
    of_method = part.hyperparameters if part else None
    asked = of_method or body.hyperparameters or schemas.Hyperparameters()
    return Hyperparameters(
        num_epochs=asked.n_epochs,
        batch_size=asked.batch_size,
        learning_rate_multiplier=asked.learning_rate_multiplier,
        beta=asked.beta if isinstance(asked, schemas.DpoHyperparameters) else AUTO,
    )


def _integration(asked: schemas.Integration) -> Integration:
    its = asked.wandb
    return Integration(
        kind=asked.type,
        project=its.project,
        name=its.name,
        entity=its.entity,
        tags=tuple(its.tags),
    )


def _shown_integration(integration: Integration) -> schemas.Integration:
    wandb = schemas.Wandb(
        project=integration.project,
        name=integration.name,
        entity=integration.entity,
        tags=list(integration.tags),
    )
    return schemas.Integration(type="wandb", wandb=wandb)


def _shown_method(job: Job) -> schemas.SupervisedMethod | schemas.DpoMethod:
    shown = _shown(job.hyperparameters)
    if job.method is Method.SUPERVISED:
        supervised = schemas.ShownSupervised(hyperparameters=shown)
        return schemas.SupervisedMethod(supervised=supervised)
    beta = job.hyperparameters.beta
    of_dpo = schemas.ShownDpoHyperparameters(**shown.model_dump(), beta=beta)
    return schemas.DpoMethod(dpo=schemas.ShownDpo(hyperparameters=of_dpo))


def _shown(hyperparameters: Hyperparameters) -> schemas.ShownHyperparameters:
    return schemas.ShownHyperparameters(
        n_epochs=hyperparameters.num_epochs,
        batch_size=hyperparameters.batch_size,
        learning_rate_multiplier=hyperparameters.learning_rate_multiplier,
    )


def _model_name(
    job: Job, organization: Organization, short_id: str | None, step: int | None
) -> str | None:
    if short_id is None:
        return None
    return tuned_model_name(
        base_model=job.base_model,
        organization=organization.slug,
        suffix=job.suffix,
        short_id=short_id,
        step=step,
    )


def _failure(failure: Failure) -> schemas.JobError:
    return schemas.JobError(
        code=_failure_code(failure), message=_failure_message(failure), param=failure.param
    )


def _failure_code(failure: Failure) -> str:
    if failure.code == datasets.TOO_FEW_EXAMPLES:
        return "invalid_n_examples"
    if failure.code == datasets.EXTRA_KEY:
        return "invalid_file_format"
    if failure.code in _BAD_FILE:
        return f"invalid_{failure.param or 'training_file'}"
    return "server_error"


def _failure_message(failure: Failure) -> str:
    found = _TOO_FEW.search(failure.message)
    if failure.code != datasets.TOO_FEW_EXAMPLES or found is None:
        return failure.message
    which = "Validation" if failure.param == "validation_file" else "Training"
    return f"{which} file {found[0]}"


def _event(event: Event, job: Job, organization: Organization) -> schemas.Event:
    is_step = event.kind is EventKind.STEP
    data = renamed(event.data) if is_step else {}
    return schemas.Event(
        id=outer_id("ftevent-", event.id),
        created_at=seconds(event.created_at),
        level=_LEVELS[event.level],
        message=_event_message(event, job, organization),
        type="metrics" if is_step else "message",
        data=None if event.kind is EventKind.STARTED else data,
    )


def _event_message(event: Event, job: Job, organization: Organization) -> str:
    """The original's wording, and our own from `RESUMED` on where it has none."""
    data = event.data
    step = data.get("at_step")
    model = _model_name(job, organization, data.get("tuned_model_short_id"), step)
    match event.kind:
        case EventKind.CREATED:
            return f"Created fine-tuning job: {job_id(job)}"
        case EventKind.VALIDATING:
            return _validating_message(job)
        case EventKind.VALIDATED:
            return "Files validated, moving job to queued state"
        case EventKind.STARTED:
            return "Fine-tuning job started"
        case EventKind.STEP:
            return _step_message(data)
        case EventKind.CHECKPOINT:
            return f"Checkpoint created at step {step} with Snapshot ID: {model}"
        case EventKind.MODEL_CREATED:
            return f"New fine-tuned model created: {model}"
        case EventKind.SUCCEEDED:
            return "The job has successfully completed"
        case EventKind.RESUMED:
            return f"Fine-tuning job resumed at step {data.get('step')}/{data.get('total_steps')}"
        case EventKind.INTERRUPTED:
            reason = data.get("reason", "unknown")
            return f"Fine-tuning job interrupted ({reason}); it waits for a worker to go on"
        case EventKind.PAUSED if model is not None:
            return f"Fine-tuning job paused at step {step} with Snapshot ID: {model}"
        case EventKind.PAUSED:
            return "Fine-tuning job paused before its first checkpoint"
        case EventKind.UNPAUSED:
            return "Fine-tuning job resumed; it waits for a worker to go on"
        case EventKind.STOPPED:
            return "Fine-tuning job cancelled; its checkpoints are kept"
        case EventKind.RESTARTED:
            return "Fine-tuning job started anew; what was before counts no more"
        case EventKind.DEPLOYED:
            return "The fine-tuned model has been deployed"
        case EventKind.FAILED if job.failure is not None:
            return _failure_message(job.failure)
        case _:
            return str(data.get("message", event.kind.value))


def _validating_message(job: Job) -> str:
    message = f"Validating training file: {file_id(job.training_file.file_id)}"
    if job.validation_file is None:
        return message
    return f"{message} and validation file: {file_id(job.validation_file.file_id)}"


def _step_message(data: Mapping[str, Any]) -> str:
    message = f"Step {data['step']}/{data['total_steps']}: "
    message += f"training loss={data.get('train_loss', math.nan):.2f}"
    for key, name in (
        ("validation_loss", "validation loss"),
        ("full_validation_loss", "full validation loss"),
    ):
        if key in data:
            message += f", {name}={data[key]:.2f}"
    return message


def _checkpoint(checkpoint: Checkpoint, job: Job, organization: Organization) -> schemas.Checkpoint:
    short_id = checkpoint.tuned_model_short_id
    step = None if short_id == job.tuned_model_short_id else checkpoint.step
    metrics = renamed({"step": checkpoint.step, **checkpoint.metrics})
    return schemas.Checkpoint(
        id=outer_id("ftckpt_", checkpoint.id),
        created_at=seconds(checkpoint.created_at),
        fine_tuned_model_checkpoint=_model_name(job, organization, short_id, step) or "",
        fine_tuning_job_id=job_id(job),
        step_number=checkpoint.step,
        metrics={k: v for k, v in metrics.items() if k in _CHECKPOINT_METRICS},
    )


def renamed(metrics: Mapping[str, float]) -> dict[str, float]:
    """Under the original's names, and finite: clients' JSON has no word for anything else."""
    names = _METRICS | _DPO_METRICS
    return {names.get(name, name): value for name, value in metrics.items() if math.isfinite(value)}
