"""The wire: jobs, their observation and datasets.

https://docs.strongly.ai/docs/api/fine-tuning, as of August 2026.
"""

import json
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from fastapi import Request as HttpRequest
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from tunesmith.domain import hyperparameters as inner
from tunesmith.domain.errors import InvalidRequest
from tunesmith.wire import json_body

MAX_NAME_LENGTH = 200
MAX_DESCRIPTION_LENGTH = 10_000
MAX_REFERENCE_LENGTH = 4096

Status = Literal["queued", "running", "completed", "failed", "stopped"]


class Request(json_body.Request):
    """A JSON body. Keys that it does not know are passed over; the job's log names them."""

    model_config = ConfigDict(extra="ignore")


DEFAULT_EPOCHS = 3
DEFAULT_LEARNING_RATE = 2e-4
DEFAULT_LEARNING_RATE_OF_ALL = 2e-5  # where all weights are trained
DEFAULT_BATCH_SIZE = 8
DEFAULT_WARMUP_STEPS = 0
_OURS = inner.Hyperparameters()


class Hyperparameters(BaseModel):
    """What is misspelt here would change what is learned, so nothing is passed over."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    auto: bool = Field(
        False,
        description="Epochs, learning rate, batch size and warm-up that are left out are chosen "
        "for the data and the base model, in the place of the defaults.",
    )
    epochs: int | None = Field(
        None,
        ge=1,
        validation_alias=AliasChoices("epochs", "n_epochs"),
        description=f"{DEFAULT_EPOCHS} by default.",
    )
    learningRate: float | None = Field(
        None,
        gt=0,
        description=f"{DEFAULT_LEARNING_RATE} by default; {DEFAULT_LEARNING_RATE_OF_ALL} with "
        "the method `full`.",
    )
    batchSize: int | None = Field(None, ge=1, description=f"{DEFAULT_BATCH_SIZE} by default.")
    warmupSteps: int | None = Field(None, ge=0, description=f"{DEFAULT_WARMUP_STEPS} by default.")
    loraRank: int = Field(_OURS.lora_rank, ge=1, le=inner.MAX_LORA_RANK)
    loraAlpha: float = Field(
        _OURS.lora_alpha, gt=0, le=inner.MAX_LORA_ALPHA, description="Scales by alpha / rank."
    )
    loraDropout: float = Field(_OURS.lora_dropout, ge=0, le=inner.MAX_LORA_DROPOUT)
    loraTargets: list[str] = Field(
        list(_OURS.lora_targets),
        max_length=inner.MAX_LORA_TARGETS,
        description="Names of linear layers, such as `q_proj`. By default all of the decoder's.",
    )
    useRslora: bool = Field(_OURS.use_rslora, description="Scales by alpha / sqrt(rank) instead.")
    learningRateSchedule: Literal["cosine", "linear", "constant"] = Field(
        _OURS.lr_schedule.value, description="Behind the warm-up."
    )
    weightDecay: float = Field(_OURS.weight_decay, ge=0, le=inner.MAX_WEIGHT_DECAY)
    maxGradNorm: float = Field(
        _OURS.max_grad_norm,
        gt=0,
        le=inner.MAX_GRAD_NORM,
        description="A longer gradient is clipped.",
    )
    earlyStoppingPatience: int | None = Field(
        None,
        ge=1,
        le=inner.MAX_EPOCHS,
        description="Epochs in a row whose validation loss may not fall. Needs a validation file.",
    )
    beta: float | None = Field(
        None,
        gt=0,
        le=inner.MAX_BETA,
        description=f"Of the objective `dpo`; {inner.DEFAULT_BETA} by default.",
    )


class CreateJob(Request):
    NAME: ClassVar[Any] = StringConstraints(
        strip_whitespace=True, min_length=1, max_length=MAX_NAME_LENGTH
    )

    name: Annotated[str, NAME]
    baseModel: str = Field(description="A base model, or a tuned model to be tuned further.")
    trainingDataset: str = Field(min_length=1, max_length=MAX_REFERENCE_LENGTH)
    description: str | None = Field(None, max_length=MAX_DESCRIPTION_LENGTH)
    validationFile: str | None = Field(None, min_length=1, max_length=MAX_REFERENCE_LENGTH)
    hyperparameters: Hyperparameters | None = Field(
        None,
        description="Those below, and `n_epochs` for `epochs`; others are refused.",
    )
    suffix: str | None = Field(None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    method: Literal["lora", "full"] | None = Field(
        None, description="`full` trains all weights instead of an adapter; `lora` by default."
    )
    objective: Literal["supervised", "dpo"] | None = Field(
        None, description="`dpo` learns from preferences; `supervised` by default."
    )
    seed: int | None = Field(
        None, description="The same one trains the same way again; drawn by lot by default."
    )
    deploy: bool = Field(
        False, description="The model answers as soon as it is trained, without being deployed."
    )


class AskEstimate(Request):
    baseModel: str
    datasetSize: int = Field(ge=1, description="A number of examples.")


Body = TypeVar("Body", bound=Request)


async def read(request: HttpRequest, kind: type[Body]) -> tuple[Body, list[str]]:
    """The body, whatever its content type says it is, and the keys that it has beside ours.

    Read by hand, because it is judged last: after the key, its scope and what the path names.
    """
    body = await request.body()
    try:
        sent = json.loads(body.decode(), parse_constant=_refuse)  # else also UTF-16, NaN, Infinity
        json.dumps(sent, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest("The body has half a character (a lone surrogate).") from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON; send a JSON object.") from error
    try:
        asked = kind.model_validate(sent)
    except ValidationError as error:
        raise _invalid(error) from error
    return asked, [name for name in sent if name not in kind.model_fields]


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _invalid(error: ValidationError) -> InvalidRequest:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    return InvalidRequest(f"{field or 'The body'}: {first['msg']}.", param=field or None)


def openapi_body(kind: type[Request]) -> dict[str, Any]:
    schema = kind.model_json_schema()
    definitions = schema.pop("$defs", {})
    content = {"application/json": {"schema": _inlined(schema, definitions)}}
    return {"requestBody": {"required": True, "content": content}}


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    return {key: _inlined(value, definitions) for key, value in schema.items()}


class CreatedJob(BaseModel):
    id: str
    name: str
    baseModel: str
    status: Status
    createdAt: str


class JobItem(BaseModel):
    id: str
    name: str
    baseModel: str
    status: Status
    description: str | None
    owner: str
    organizationId: str
    trainedTokens: int
    startedAt: str | None
    finishedAt: str | None
    createdAt: str
    updatedAt: str


class ShownHyperparameters(BaseModel):
    """null is what another API left open and is not decided yet."""

    epochs: int | None
    learningRate: float | None
    batchSize: int | None
    warmupSteps: int | None
    loraRank: int
    loraAlpha: float
    loraDropout: float
    loraTargets: list[str]
    useRslora: bool
    learningRateSchedule: str
    weightDecay: float
    maxGradNorm: float
    earlyStoppingPatience: int | None
    beta: float | None


class LastMetrics(BaseModel):
    trainingLoss: float | None
    validationLoss: float | None
    epoch: int


class Fault(BaseModel):
    """Where a file is at fault: by which rule of the dataset doctor, and in which line and path."""

    file: str
    rule: str
    line: int | None
    path: str


class Mask(BaseModel):
    """What the job learns from, once its data is read; `sha256` is over all ids and loss masks."""

    sha256: str
    tokensPerEpoch: int
    trainedTokensPerEpoch: int


class Job(JobItem):
    trainingDataset: str
    trainingFile: str | None
    validationFile: str | None
    hyperparameters: ShownHyperparameters
    method: Literal["lora", "full"]
    objective: Literal["supervised", "dpo"]
    suffix: str | None
    resultModel: str | None
    deployed: bool
    deployedAt: str | None
    attempt: int
    error: str | None
    fault: Fault | None
    mask: Mask | None
    metrics: LastMetrics | None


class JobStatus(BaseModel):
    id: str
    status: Status
    trainedTokens: int
    metrics: LastMetrics | None
    error: str | None
    startedAt: str | None
    finishedAt: str | None
    updatedAt: str


class QueuePlace(BaseModel):
    """`waiting` is false for a job that waits for nothing; the rest is null then."""

    jobId: str
    waiting: bool
    position: int | None
    priority: int | None
    reason: str | None
    startsWhen: str | None
    notBefore: str | None


class Done(BaseModel):
    id: str
    status: Status
    message: str


class Deployed(BaseModel):
    id: str
    resultModel: str
    status: Literal["deployed"]
    message: str


class MetricPoint(BaseModel):
    step: int
    trainingLoss: float | None
    validationLoss: float | None
    learningRate: float | None


class Metrics(BaseModel):
    trainingLoss: float | None
    validationLoss: float | None
    currentEpoch: int
    totalEpochs: int
    trainedTokens: int
    steps: list[MetricPoint]


class JobMetrics(BaseModel):
    jobId: str
    metrics: Metrics


class LogLine(BaseModel):
    timestamp: str
    level: Literal["debug", "info", "warning", "error"]
    message: str


class JobLogs(BaseModel):
    jobId: str
    logs: list[LogLine]


class Stats(BaseModel):
    total: int
    running: int
    completed: int
    failed: int
    queued: int
    stopped: int


class Dataset(BaseModel):
    """`examples` is null for files that came in by another API, which does not count them."""

    id: str
    name: str
    fileName: str
    bytes: int
    examples: int | None
    createdAt: str


class DatasetList(BaseModel):
    count: int
    limit: int
    offset: int
    datasets: list[Dataset]


class BaseModelEntry(BaseModel):
    id: str
    name: str
    provider: str
    parameterCount: str
    supportedTasks: list[str]
    maxSequenceLength: int


class BaseModelList(BaseModel):
    models: list[BaseModelEntry]


class Hardware(BaseModel):
    """`gpuMemory` is that of each GPU, `costPerHour` that of all of them in dollars."""

    id: str
    name: str
    gpuMemory: str
    gpuCount: int
    costPerHour: float


class HardwareList(BaseModel):
    hardware: list[Hardware]


class Estimate(BaseModel):
    baseModel: str
    datasetSize: int
    estimatedCost: float
    estimatedTimeMinutes: int
    currency: Literal["USD"]
