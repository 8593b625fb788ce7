"""The wire: fine-tuning jobs, their events and checkpoints."""

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, field_validator, model_validator

from tunesmith.domain.hyperparameters import AUTO, MAX_BATCH_SIZE, MAX_BETA, MAX_EPOCHS, Auto
from tunesmith.services.jobs import MAX_SEED, MAX_SUFFIX_LENGTH
from tunesmith.wire.json_body import Request

MAX_METADATA_PAIRS = 16
MAX_METADATA_KEY_LENGTH = 64
MAX_METADATA_VALUE_LENGTH = 512
MAX_MULTIPLIER = 1000
MAX_INTEGRATIONS = 5
MAX_TAGS = 50


def _auto_or_whole(low: int, high: int) -> Callable[[Any], int | Auto]:
    """One message for what would be one for each half of a union."""

    def check(value: Any) -> int | Auto:
        if value == AUTO:
            return AUTO
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise ValueError(f'must be "auto" or a whole number from {low} to {high}')

    return check


def _auto_or_number(high: float) -> Callable[[Any], float | Auto]:
    def check(value: Any) -> float | Auto:
        if value == AUTO:
            return AUTO
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and 0 < value <= high:
            return float(value)
        raise ValueError(f'must be "auto" or a number above 0, at most {high:g}')

    return check


Epochs = Annotated[
    int | Auto,
    PlainValidator(_auto_or_whole(1, MAX_EPOCHS), json_schema_input_type=int | Auto),
]
BatchSize = Annotated[
    int | Auto,
    PlainValidator(_auto_or_whole(1, MAX_BATCH_SIZE), json_schema_input_type=int | Auto),
]
Multiplier = Annotated[
    float | Auto,
    PlainValidator(_auto_or_number(MAX_MULTIPLIER), json_schema_input_type=float | Auto),
]
Beta = Annotated[
    float | Auto,
    PlainValidator(_auto_or_number(MAX_BETA), json_schema_input_type=float | Auto),
]
Name = Annotated[str, Field(min_length=1, max_length=128)]
Tag = Annotated[str, Field(min_length=1, max_length=64)]


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid")

    n_epochs: Epochs = Field(default=AUTO, description=f"1 to {MAX_EPOCHS}")
    batch_size: BatchSize = Field(default=AUTO, description=f"1 to {MAX_BATCH_SIZE}")
    learning_rate_multiplier: Multiplier = Field(
        default=AUTO, description=f"of the base model's own learning rate; up to {MAX_MULTIPLIER:,}"
    )


class MethodHyperparameters(Hyperparameters):
    """The original passes over what it does not know inside a method."""

    model_config = ConfigDict(extra="ignore")


class DpoHyperparameters(MethodHyperparameters):
    beta: Beta = Field(
        default=AUTO, description=f"how far preferences may lead away; up to {MAX_BETA:g}"
    )


class Supervised(BaseModel):
    hyperparameters: MethodHyperparameters | None = None


class Dpo(BaseModel):
    hyperparameters: DpoHyperparameters | None = None


class Grader(BaseModel):
    type: Literal["string_check", "text_similarity", "python", "score_model", "multi"]


class Reinforcement(BaseModel):
    grader: Grader
    hyperparameters: MethodHyperparameters | None = None


class Method(BaseModel):
    """Only the part named by `type` counts; others may be there."""

    type: Literal["supervised", "dpo", "reinforcement"]
    supervised: Supervised | None = None
    dpo: Dpo | None = None
    reinforcement: Reinforcement | None = Field(None, description="is checked, then refused")

    @model_validator(mode="before")
    @classmethod
    def _what_counts(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        kind = body.get("type")
        counts = {name: value for name, value in body.items() if name in ("type", kind)}
        if kind == "reinforcement":
            counts.setdefault("reinforcement", {})  # which has to have a grader
        return counts


class Wandb(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    project: Name
    name: Name | None = None
    entity: Name | None = None
    tags: list[Tag] = Field([], max_length=MAX_TAGS)

    @field_validator("tags", mode="before")
    @classmethod
    def _or_none(cls, tags: Any) -> Any:
        return [] if tags is None else tags


class Integration(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    type: Literal["wandb"]
    wandb: Wandb


class CreateJob(Request):
    model: str = Field(description="a base model, or a tuned one to go on from")
    training_file: str = Field(description="the id of a file for `fine-tune`")
    validation_file: str | None = Field(None, description="the id of another such file")
    suffix: str | None = Field(
        None, min_length=1, max_length=MAX_SUFFIX_LENGTH, description="part of the model's name"
    )
    seed: int | None = Field(
        None, ge=0, le=MAX_SEED, description="the same one trains the same way again"
    )
    hyperparameters: Hyperparameters | None = Field(
        None, description="the older place of those of the method `supervised`"
    )
    method: Method | None = Field(None, description="`supervised` unless given")
    integrations: list[Integration] | None = Field(None, max_length=MAX_INTEGRATIONS)
    metadata: dict[str, str] | None = Field(
        None,
        description=f"up to {MAX_METADATA_PAIRS} pairs; keys have up to {MAX_METADATA_KEY_LENGTH} "
        f"characters, values up to {MAX_METADATA_VALUE_LENGTH}",
    )

    @field_validator("metadata")
    @classmethod
    def _is_small(cls, metadata: dict[str, str] | None) -> dict[str, str] | None:
        if metadata is None:
            return None
        if len(metadata) > MAX_METADATA_PAIRS:
            raise ValueError(f"at most {MAX_METADATA_PAIRS} pairs are kept")
        if any(len(key) > MAX_METADATA_KEY_LENGTH for key in metadata):
            raise ValueError(f"keys have at most {MAX_METADATA_KEY_LENGTH} characters")
        if any(len(value) > MAX_METADATA_VALUE_LENGTH for value in metadata.values()):
            raise ValueError(f"values have at most {MAX_METADATA_VALUE_LENGTH} characters")
        return metadata


class JobError(BaseModel):
    code: str
    message: str
    param: str | None


class ShownHyperparameters(BaseModel):
    n_epochs: int | Auto
    batch_size: int | Auto
    learning_rate_multiplier: float | Auto


class ShownDpoHyperparameters(ShownHyperparameters):
    beta: float | Auto


class ShownSupervised(BaseModel):
    hyperparameters: ShownHyperparameters


class ShownDpo(BaseModel):
    hyperparameters: ShownDpoHyperparameters


class SupervisedMethod(BaseModel):
    type: Literal["supervised"] = "supervised"
    supervised: ShownSupervised


class DpoMethod(BaseModel):
    type: Literal["dpo"] = "dpo"
    dpo: ShownDpo


class Job(BaseModel):
    """`error` is null unless the job failed, and `hyperparameters` is always there: null and `{}`,
    which the original sends, break its own clients in strict mode."""

    object: Literal["fine_tuning.job"] = "fine_tuning.job"
    id: str
    created_at: int
    model: str
    organization_id: str
    status: str
    training_file: str
    validation_file: str | None
    hyperparameters: ShownHyperparameters
    method: SupervisedMethod | DpoMethod
    seed: int
    user_provided_suffix: str | None
    metadata: dict[str, str] | None
    integrations: list[Integration]
    fine_tuned_model: str | None
    finished_at: int | None
    estimated_finish: int | None
    trained_tokens: int | None
    result_files: list[str]
    error: JobError | None


class JobList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Job]
    has_more: bool


class Event(BaseModel):
    object: Literal["fine_tuning.job.event"] = "fine_tuning.job.event"
    id: str
    created_at: int
    level: Literal["info", "warn", "error"]
    message: str
    type: Literal["message", "metrics"]
    data: dict[str, Any] | None


class EventList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Event]
    has_more: bool


class Checkpoint(BaseModel):
    object: Literal["fine_tuning.job.checkpoint"] = "fine_tuning.job.checkpoint"
    id: str
    created_at: int
    fine_tuned_model_checkpoint: str
    fine_tuning_job_id: str
    step_number: int
    metrics: dict[str, float]


class CheckpointList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Checkpoint]
    first_id: str | None
    last_id: str | None
    has_more: bool
