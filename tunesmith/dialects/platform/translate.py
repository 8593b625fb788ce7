"""Wire <-> domain: ids, times, statuses, lists' queries, jobs and datasets."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tunesmith.dialects.platform import schemas
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import File
from tunesmith.domain.hyperparameters import AUTO, Method
from tunesmith.domain.ids import from_base36, to_base36
from tunesmith.domain.jobs import Job, JobOrder, JobSearch, JobStatus, MaskCertificate
from tunesmith.domain.models import Deployment

INFERENCE_SCOPE = "ai-gateway:inference"
DEFAULT_LIMIT = 20
MAX_LIMIT = 100
MAX_OFFSET = 2**31

# A paused job waits, as a queued one does: there is no word of its own for it here.
_STATUSES: dict[JobStatus, schemas.Status] = {
    JobStatus.DRAFT: "queued",
    JobStatus.VALIDATING: "queued",
    JobStatus.QUEUED: "queued",
    JobStatus.PAUSED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCEEDED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "stopped",
}
_GROUPS: dict[str, frozenset[JobStatus]] = {
    word: frozenset(inner for inner, outer in _STATUSES.items() if outer == word)
    for word in sorted(set(_STATUSES.values()))
}
_ORDERS = {
    "createdAt": JobOrder.CREATED_AT,
    "updatedAt": JobOrder.UPDATED_AT,
    "startedAt": JobOrder.STARTED_AT,
    "finishedAt": JobOrder.FINISHED_AT,
    "name": JobOrder.NAME,
    "status": JobOrder.STATUS,
    "baseModel": JobOrder.BASE_MODEL,
    "trainedTokens": JobOrder.NUM_TRAINED_TOKENS,
}
_FIELDS = {
    "num_epochs": "hyperparameters.epochs",
    "batch_size": "hyperparameters.batchSize",
    "learning_rate": "hyperparameters.learningRate",
    "warmup_steps": "hyperparameters.warmupSteps",
    "lora_rank": "hyperparameters.loraRank",
    "lora_alpha": "hyperparameters.loraAlpha",
    "lora_dropout": "hyperparameters.loraDropout",
    "lora_targets": "hyperparameters.loraTargets",
    "weight_decay": "hyperparameters.weightDecay",
    "max_grad_norm": "hyperparameters.maxGradNorm",
    "early_stopping_patience": "hyperparameters.earlyStoppingPatience",
    "beta": "hyperparameters.beta",
    "model": "baseModel",
    "training_file": "trainingDataset",
    "validation_file": "validationFile",
    "num_examples": "datasetSize",
}
_INTEGER = re.compile(r"-?[0-9]{1,12}")
_SPACE_FOR_PLUS = re.compile(r"(T.*) (\d{2}:?\d{2})$")
_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_HOST_PATH = re.compile(r"(?<![\w.:/])/(?:[\w.@+-]+/)+[\w.@+-]*")


def job_id(job: Job) -> str:
    return outer_job_id(job.id)


def outer_job_id(inner: UUID) -> str:
    return f"ftjob_{to_base36(inner)}"


def dataset_id(inner: UUID) -> str:
    return f"ds_{to_base36(inner)}"


def inner_id(kind: str, prefix: str, reference: str) -> UUID:
    """Raises `NotFound` for what is no id."""
    inner = find_id(prefix, reference)
    if inner is None:
        raise NotFound(kind, reference)
    return inner


def inner_job_id(reference: str) -> UUID:
    return inner_id("job", "ftjob_", reference)


def find_id(prefix: str, reference: str) -> UUID | None:
    is_one = reference.startswith(prefix)
    return from_base36(reference.removeprefix(prefix)) if is_one else None


def field(param: str) -> str:
    """A field's name on the wire, from its name in the domain."""
    return _FIELDS.get(param, param)


def status(inner: JobStatus) -> schemas.Status:
    return _STATUSES[inner]


def seconds(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def milliseconds(since_1970: int) -> str:
    whole, rest = divmod(since_1970, 1000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{rest:03}Z"


def moment(text: str, param: str) -> datetime:
    """Without a zone it is UTC; a `+` may have become a space on its way through a query."""
    try:
        read = datetime.fromisoformat(_SPACE_FOR_PLUS.sub(r"\1+\2", text.strip()))
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        message = f"{param}: {text[:40]!r} is no ISO 8601 timestamp."
        raise InvalidRequest(message, param=param) from error


def integer(query: Mapping[str, str], param: str, default: int, low: int, high: int) -> int:
    text = query.get(param)
    if text is None:
        return default
    number = int(text) if _INTEGER.fullmatch(text) else None
    if number is None or not low <= number <= high:
        message = f"{param}: must be a whole number from {low} to {high}."
        raise InvalidRequest(message, param=param)
    return number


PAGE: dict[str, dict[str, Any]] = {
    "limit": {
        "type": "integer",
        "minimum": 1,
        "default": DEFAULT_LIMIT,
        "description": f"More than {MAX_LIMIT} is {MAX_LIMIT}.",
    },
    "offset": {"type": "integer", "minimum": 0, "maximum": MAX_OFFSET, "default": 0},
}
SEARCH: dict[str, dict[str, Any]] = {
    "status": {"type": "string", "enum": list(_GROUPS)},
    "baseModel": {"type": "string"},
    "search": {"type": "string", "description": "A part of the name or the description."},
    "sort": {
        "type": "string",
        "description": f"One of {', '.join(_ORDERS)}, with `:asc` or `:desc`, or a `-` before it.",
    },
    "sortBy": {"type": "string", "enum": list(_ORDERS), "default": "createdAt"},
    "sortOrder": {"type": "string", "enum": ["asc", "desc"], "default": "desc"},
    "after": {"type": "string", "description": "The last job seen, instead of an offset."},
    "include": {
        "type": "string",
        "enum": ["progress"],
        "description": "Adds `progress` to each job: its status in full, step, losses and error.",
    },
}


def page(query: Mapping[str, str]) -> tuple[int, int]:
    """Limit and offset; more than the largest limit is the largest limit."""
    limit = integer(query, "limit", DEFAULT_LIMIT, 1, 10**12)
    return min(limit, MAX_LIMIT), integer(query, "offset", 0, 0, MAX_OFFSET)


def job_search(query: Mapping[str, str]) -> JobSearch:
    limit, offset = page(query)
    order, ascending = _order(query)
    wanted = query.get("status")
    if wanted is not None and wanted not in _GROUPS:
        raise InvalidRequest(f"status: one of {', '.join(_GROUPS)}.", param="status")
    for param in ("search", "baseModel"):
        if "\0" in query.get(param, ""):
            raise InvalidRequest(f"{param}: NUL characters are not accepted.", param=param)
    return JobSearch(
        statuses=None if wanted is None else _GROUPS[wanted],
        base_model=query.get("baseModel"),
        text=query.get("search") or None,
        order=order,
        ascending=ascending,
        statuses_in_order=tuple(_GROUPS.values()),
        offset=offset,
        limit=limit,
        after=_after(query),
    )


def wants_progress(query: Mapping[str, str]) -> bool:
    if query.get("include", "progress") != "progress":
        raise InvalidRequest("include: `progress` is all there is.", param="include")
    return "include" in query


def _after(query: Mapping[str, str]) -> UUID | None:
    if "after" not in query:
        return None
    last = find_id("ftjob_", query["after"])
    if last is None:
        raise InvalidRequest("after: the id of a job of the list.", param="after")
    return last


def _order(query: Mapping[str, str]) -> tuple[JobOrder, bool]:
    """`field:asc`, `field:desc`, `field`, `-field`, or `sortBy` with `sortOrder`."""
    param = "sort" if "sort" in query else "sortBy"
    if param == "sort":
        name, _, direction = query["sort"].partition(":")
        if not direction and name.startswith("-"):
            name, direction = name[1:], "desc"
        direction = direction or "asc"
    else:
        name, direction = query.get("sortBy", "createdAt"), query.get("sortOrder", "desc")
    if name not in _ORDERS:
        raise InvalidRequest(f"{param}: by one of {', '.join(_ORDERS)}.", param=param)
    if direction not in ("asc", "desc"):
        param = "sort" if param == "sort" else "sortOrder"
        raise InvalidRequest(f"{param}: either asc or desc.", param=param)
    return _ORDERS[name], direction == "asc"


def created_job(job: Job) -> schemas.CreatedJob:
    return schemas.CreatedJob(
        id=job_id(job),
        name=job.name,
        baseModel=job.base_model,
        status=status(job.status),
        createdAt=seconds(job.created_at),
    )


def job_item(job: Job) -> schemas.JobItem:
    return schemas.JobItem(**item(job))


def job(job: Job, base: BaseModel | None, deployment: Deployment | None) -> schemas.Job:
    validation = job.validation_file
    deployed_at = None if deployment is None else deployment.deployed_at
    return schemas.Job(
        **item(job),
        trainingDataset=job.training_file.reference or dataset_id(job.training_file.file_id),
        trainingFile=job.training_file.filename,
        validationFile=(
            None if validation is None else validation.reference or dataset_id(validation.file_id)
        ),
        hyperparameters=_hyperparameters(job, base),
        method="full" if job.hyperparameters.trains_all_weights else "lora",
        objective=job.method.value,
        suffix=job.suffix,
        resultModel=job.model_name,
        deployed=deployed_at is not None,
        deployedAt=None if deployed_at is None else seconds(deployed_at),
        attempt=job.attempt,
        error=error(job),
        fault=_fault(job),
        mask=None if job.mask is None else _mask(job.mask),
        metrics=last_metrics(job),
    )


def _fault(job: Job) -> schemas.Fault | None:
    failure = job.failure
    if failure is None or failure.rule is None:
        return None
    return schemas.Fault(
        file=str(failure.param), rule=failure.rule, line=failure.line, path=failure.path or "$"
    )


def _mask(certificate: MaskCertificate) -> schemas.Mask:
    return schemas.Mask(
        sha256=certificate.sha256,
        tokensPerEpoch=certificate.tokens_per_epoch,
        trainedTokensPerEpoch=certificate.trained_tokens_per_epoch,
    )


def job_status(job: Job) -> schemas.JobStatus:
    found = item(job)
    kept = ("id", "status", "trainedTokens", "startedAt", "finishedAt", "updatedAt")
    return schemas.JobStatus(
        **{name: found[name] for name in kept}, metrics=last_metrics(job), error=error(job)
    )


def item(job: Job) -> dict[str, Any]:
    return {
        "id": job_id(job),
        "name": job.name,
        "baseModel": job.base_model,
        "status": status(job.status),
        "description": job.description,
        "owner": f"user_{to_base36(job.key_id or job.organization_id)}",
        "organizationId": f"org_{to_base36(job.organization_id)}",
        "trainedTokens": job.num_trained_tokens,
        "startedAt": None if job.started_at is None else seconds(job.started_at),
        "finishedAt": None if job.finished_at is None else seconds(job.finished_at),
        "createdAt": seconds(job.created_at),
        "updatedAt": seconds(job.updated_at or job.created_at),
    }


def error(job: Job) -> str | None:
    return None if job.failure is None else one_line(job.failure.message)


def last_metrics(job: Job) -> schemas.LastMetrics | None:
    if job.progress is None:
        return None
    return schemas.LastMetrics(
        trainingLoss=job.progress.train_loss,
        validationLoss=job.progress.validation_loss,
        epoch=current_epoch(job),
    )


def num_epochs(job: Job) -> int:
    """0 while another API has left it open."""
    asked = job.hyperparameters.num_epochs
    return asked if isinstance(asked, int) else 0


def current_epoch(job: Job) -> int:
    """Counted from 1; 0 before the first step."""
    progress = job.progress
    if progress is None or not progress.total_steps:
        return 0
    return math.ceil(progress.step * num_epochs(job) / progress.total_steps)


def _hyperparameters(job: Job, base: BaseModel | None) -> schemas.ShownHyperparameters:
    asked = job.hyperparameters
    rate, multiplier = asked.learning_rate, asked.learning_rate_multiplier
    if rate is None and base is not None and not isinstance(multiplier, str):
        rate = base.learning_rate * asked.learning_rate_share(job.method) * multiplier
    return schemas.ShownHyperparameters(
        epochs=num_epochs(job) or None,
        learningRate=rate,
        batchSize=asked.batch_size if isinstance(asked.batch_size, int) else None,
        warmupSteps=asked.warmup_steps,
        loraRank=asked.lora_rank,
        loraAlpha=asked.lora_alpha,
        loraDropout=asked.lora_dropout,
        loraTargets=list(asked.lora_targets),
        useRslora=asked.use_rslora,
        learningRateSchedule=asked.lr_schedule.value,
        weightDecay=asked.weight_decay,
        maxGradNorm=asked.max_grad_norm,
        earlyStoppingPatience=asked.early_stopping_patience,
        beta=asked.beta if job.method is Method.DPO and asked.beta != AUTO else None,
    )


def dataset(file: File) -> schemas.Dataset:
    return schemas.Dataset(
        id=dataset_id(file.id),
        name=file.title or file.filename,
        fileName=file.filename,
        bytes=file.blob.size_bytes,
        examples=file.num_examples,
        createdAt=seconds(file.created_at),
    )


def one_line(text: str) -> str:
    """For people who read it in a terminal, and need not know where files lie on the machine."""
    return _HOST_PATH.sub("[path]", _CONTROL.sub(" ", text)).strip()
