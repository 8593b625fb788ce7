"""Observation: a job's metrics and log lines, and counts of all jobs."""

from typing import Any

from fastapi import APIRouter, Request

from tunesmith.dialects.platform import documentation, schemas, translate
from tunesmith.dialects.platform.auth import ToRead
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.jobs import Job
from tunesmith.services import jobs, queue_report

router = APIRouter(prefix="/fine-tuning", tags=["observation"])

MAX_POINTS = 1000
DEFAULT_LINES = 100
MAX_LINES = 5000
LOG_QUERY: dict[str, dict[str, Any]] = {
    "lines": {"type": "integer", "minimum": 1, "maximum": MAX_LINES, "default": DEFAULT_LINES},
    "since": {"type": "string", "format": "date-time"},
}

# While a job waits for its first attempt, its log is empty.
_LOGGED = frozenset(EventKind) - {EventKind.CREATED, EventKind.VALIDATING, EventKind.VALIDATED}
_LEVELS: dict[Level, Any] = {
    Level.INFO: "info",
    Level.WARNING: "warning",
    Level.ERROR: "error",
}


@router.get("/jobs/{job_id}/metrics")
def retrieve_metrics(job_id: str, ctx: ToRead) -> schemas.JobMetrics:
    job, steps = jobs.list_metrics(ctx, translate.inner_job_id(job_id))
    last = translate.last_metrics(job)
    metrics = schemas.Metrics(
        trainingLoss=None if last is None else last.trainingLoss,
        validationLoss=None if last is None else last.validationLoss,
        currentEpoch=translate.current_epoch(job),
        totalEpochs=translate.num_epochs(job),
        trainedTokens=job.num_trained_tokens,
        steps=[_point(figures) for figures in thinned(steps)],
    )
    return schemas.JobMetrics(jobId=translate.job_id(job), metrics=metrics)


@router.get("/jobs/{job_id}/logs", openapi_extra=documentation.query(**LOG_QUERY))
def retrieve_logs(job_id: str, request: Request, ctx: ToRead) -> schemas.JobLogs:
    """The last `lines`; or the first of those after `since`, to go on from."""
    inner = translate.inner_job_id(job_id)
    jobs.get(ctx, inner)
    query = request.query_params
    limit = translate.integer(query, "lines", DEFAULT_LINES, 1, MAX_LINES)
    since = translate.moment(query["since"], "since") if "since" in query else None
    job, events = jobs.list_log(ctx, inner, _LOGGED, since, limit)
    return schemas.JobLogs(jobId=translate.job_id(job), logs=[_line(e, job) for e in events])


@router.get("/jobs/{job_id}/queue")
def retrieve_queue_place(job_id: str, ctx: ToRead) -> schemas.QueuePlace:
    """Why a job waits, for what, and how many of all organizations' jobs come before it."""
    inner = translate.inner_job_id(job_id)
    why = queue_report.explain(ctx, inner)
    not_before = None if why is None else why.not_before
    return schemas.QueuePlace(
        jobId=str(inner),
        waiting=why is not None,
        position=None if why is None else why.position,
        priority=None if why is None else why.priority,
        reason=None if why is None else why.reason.value,
        startsWhen=None if why is None else why.starts_when,
        notBefore=None if not_before is None else translate.seconds(not_before),
    )


@router.get("/stats")
def retrieve_stats(ctx: ToRead) -> schemas.Stats:
    counts = dict.fromkeys(schemas.Stats.model_fields, 0)
    for status, count in jobs.count_by_status(ctx).items():
        counts[translate.status(status)] += count
        counts["total"] += count
    return schemas.Stats(**counts)


def thinned(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """At most a thousand of them, evenly apart, the last among them."""
    if len(steps) <= MAX_POINTS:
        return steps
    return [steps[(i + 1) * len(steps) // MAX_POINTS - 1] for i in range(MAX_POINTS)]


def _point(figures: dict[str, Any]) -> schemas.MetricPoint:
    return schemas.MetricPoint(
        step=int(figures["step"]),
        trainingLoss=figures.get("train_loss"),
        validationLoss=figures.get("full_validation_loss", figures.get("validation_loss")),
        learningRate=figures.get("learning_rate"),
    )


def _line(event: Event, job: Job) -> schemas.LogLine:
    return schemas.LogLine(
        timestamp=translate.milliseconds(event.logged_ms),
        level=_LEVELS[event.level],
        message=translate.one_line(_message(event, job)),
    )


def _message(event: Event, job: Job) -> str:
    data = event.data
    match event.kind:
        case EventKind.STARTED:
            return f"Training started: {data.get('total_steps')} steps."
        case EventKind.RESUMED:
            return f"Training goes on at step {data.get('step')} of {data.get('total_steps')}."
        case EventKind.STEP:
            return _step(data)
        case EventKind.CHECKPOINT:
            return f"A checkpoint of step {data.get('at_step')} is kept."
        case EventKind.INTERRUPTED:
            reason = data.get("reason", "unknown")
            return f"Training was interrupted ({reason}); the job waits for a worker to go on."
        case EventKind.PAUSED:
            return "The job is paused."
        case EventKind.UNPAUSED:
            return "The job goes on; it waits for a worker."
        case EventKind.MODEL_CREATED:
            return f"The model {job.model_name} has been created."
        case EventKind.SUCCEEDED:
            return "The job is completed."
        case EventKind.STOPPED:
            return "The job was stopped."
        case EventKind.RESTARTED:
            return "---------- The job starts anew, from its base model. ----------"
        case EventKind.DEPLOYED:
            return f"The model {job.model_name} has been deployed."
        case _:
            return str(data.get("message", event.kind.value))


def _step(data: dict[str, Any]) -> str:
    message = f"Step {data.get('step')} of {data.get('total_steps')}"
    for key, name in (
        ("train_loss", "training loss"),
        ("full_validation_loss", "validation loss"),
        ("learning_rate", "learning rate"),
    ):
        if key in data:
            message += f", {name} {data[key]:.4g}"
    return f"{message}."
