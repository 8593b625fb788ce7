"""The wire."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, model_validator

from tunesmith.domain.catalog import TASKS, Quantization
from tunesmith.domain.devices import DeviceKind
from tunesmith.domain.jobs import JobStatus, Task
from tunesmith.domain.quotas import MAX_PRIORITY, MIN_PRIORITY
from tunesmith.services.queue_report import Reason
from tunesmith.services.weights import State
from tunesmith.wire.json_body import check_keepable

Outcome = Literal[JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED]
ALL_OUTCOMES: list[Outcome] = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _keepable(cls, body: Any) -> Any:
        if isinstance(body, dict):
            check_keepable(body)
        return body


ModelName = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[\w@][\w./@-]*$")]
Fact = Annotated[str, Field(min_length=1, max_length=1000)]


class BaseModelEntry(Strict):
    name: ModelName
    aliases: list[ModelName] = Field([], max_length=100)
    folder: str
    source: str
    num_parameters: int = Field(gt=0)
    context_tokens: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    files: dict[str, int]
    fingerprint: Fact | None = None
    hub_id: Fact | None = None
    display_name: Fact | None = None
    provider: Fact | None = None
    licence: Fact | None = None
    description: Fact | None = None
    nominal_size: Fact | None = None
    tasks: list[Fact] = Field(list(TASKS), min_length=1, max_length=20)
    calls_functions: bool = False
    quantization: Quantization | None = None


class ListedBaseModel(BaseModelEntry):
    """`weights` is what has become of its files."""

    id: UUID
    weights: State


class KnownModel(BaseModel):
    """`enabled_as` are the base models of this installation that are it."""

    name: str
    display_name: str
    provider: str
    hub_id: str
    num_parameters: int
    size: str
    context_tokens: int
    licence: str
    aliases: list[str]
    tasks: list[str]
    is_gated: bool | None
    enabled_as: list[str]


class Hardware(BaseModel):
    """`gpu_memory_bytes` is that of each GPU; `cost_per_hour` is in dollars, for all of them."""

    id: str
    name: str
    kind: DeviceKind
    gpu_memory_bytes: int
    num_gpus: int
    cost_per_hour: float


class AskEstimate(Strict):
    """Epochs are "auto" and examples as long as in earlier jobs, unless it says otherwise."""

    base_model: str
    num_examples: int
    num_epochs: int | None = None
    tokens_per_example: float | None = None


class Estimate(BaseModel):
    """`cost` is in dollars. `is_measured`: the speed is that of earlier jobs here."""

    base_model: str
    num_examples: int
    minutes: int
    cost: float
    device: str
    is_measured: bool
    tokens_per_second: float
    tokens_per_example: float


class QueuedJob(BaseModel):
    """`position` counts those that could begin; `not_before` is set where a moment is awaited."""

    job_id: UUID
    organization_id: UUID
    task: Task
    priority: int
    base_model: str
    position: int | None
    reason: Reason
    starts_when: str
    not_before: datetime | None


class SetPriority(Strict):
    priority: int = Field(ge=MIN_PRIORITY, le=MAX_PRIORITY)


class CreateWebhook(Strict):
    """`outcomes`: the ends of a job to be told of; all of them unless some are named."""

    url: str
    outcomes: list[Outcome] = Field(ALL_OUTCOMES, min_length=1, max_length=len(ALL_OUTCOMES))


class Delivery(BaseModel):
    """`attempted_at` and `result` are of the latest attempt, `next_attempt_at` of one to come."""

    id: UUID
    job_id: UUID
    outcome: JobStatus
    created_at: datetime
    status: str
    attempts: int
    attempted_at: datetime | None
    result: str | None
    next_attempt_at: datetime | None


class Webhook(BaseModel):
    id: UUID
    url: str
    outcomes: list[JobStatus]
    created_at: datetime
    last_delivery: Delivery | None


class CreatedWebhook(Webhook):
    """`secret` is shown this once."""

    secret: str


class CreatedJob(BaseModel):
    id: UUID
