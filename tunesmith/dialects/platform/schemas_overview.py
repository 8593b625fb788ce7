"""The wire: who asks, how far jobs are, what waits, what answers, and what a job would take."""

from typing import Literal

from pydantic import BaseModel, Field

from tunesmith.dialects.platform.schemas import JobItem, Request
from tunesmith.domain.hyperparameters import MAX_BATCH_SIZE, MAX_EPOCHS
from tunesmith.domain.jobs import JobStatus
from tunesmith.services.queue_report import Reason


class Organization(BaseModel):
    id: str
    name: str
    slug: str


class ApiKey(BaseModel):
    id: str
    name: str
    keyPrefix: str
    scopes: list[str]
    mayDo: list[str]
    createdAt: str
    expiresAt: str | None
    lastUsedAt: str | None


class Identity(BaseModel):
    userId: str
    email: str | None
    name: str
    roles: list[str]
    organization: Organization
    apiKey: ApiKey


class Meta(BaseModel):
    requestId: str


class WhoAmI(BaseModel):
    data: Identity
    meta: Meta


class Progress(BaseModel):
    """`phase` is the status in full; `totalSteps` is null until training has begun."""

    phase: JobStatus
    pausing: bool
    step: int
    totalSteps: int | None
    trainingLoss: float | None
    validationLoss: float | None
    estimatedFinishAt: str | None
    resultModel: str | None
    error: str | None


class JobItemWithProgress(JobItem):
    progress: Progress


class JobList(BaseModel):
    count: int
    limit: int
    offset: int
    jobs: list[JobItemWithProgress | JobItem]


class CurvePoint(BaseModel):
    """Of one optimizer step. `seconds` is how long it took, and `tokens` what it read."""

    step: int
    trainingLoss: float | None
    trainingAccuracy: float | None
    validationLoss: float | None
    validationAccuracy: float | None
    learningRate: float | None
    gradientNorm: float | None
    rewardMargin: float | None
    tokens: int | None
    seconds: float | None


class Curves(BaseModel):
    jobId: str
    totalSteps: int | None
    points: list[CurvePoint]


class WaitingJob(BaseModel):
    """`position` counts the organization's jobs that could begin; null where this one could not."""

    jobId: str
    name: str
    baseModel: str
    task: Literal["validate", "train"]
    priority: int
    position: int | None
    reason: Reason
    startsWhen: str
    notBefore: str | None


class Queue(BaseModel):
    """`count` is how many of the organization's jobs wait; `jobs` has the first of them."""

    count: int
    jobs: list[WaitingJob]


class Model(BaseModel):
    """What a finished job has left. `jobId` is null where the job was deleted."""

    id: str
    baseModel: str
    jobId: str | None
    bytes: int
    deployed: bool
    deployedAt: str | None
    createdAt: str


class ModelList(BaseModel):
    count: int
    limit: int
    offset: int
    models: list[Model]


class DayOfUsage(BaseModel):
    date: str
    trainedTokens: int


class Usage(BaseModel):
    """Of the organization, by day in UTC, oldest first; today is the last."""

    trainedTokens: int
    days: list[DayOfUsage]


class Spent(BaseModel):
    """Requests that were answered, and the tokens that they took."""

    requests: int
    promptTokens: int
    completionTokens: int


class DayOfAnswers(Spent):
    date: str


class ModelsAnswers(Spent):
    model: str


class KeysAnswers(Spent):
    """All is null for the sum of the keys that this key may not see."""

    keyId: str | None
    name: str | None
    keyPrefix: str | None


class AnswersUsage(BaseModel):
    """Of the organization: by day in UTC, oldest first; by model; and by key.

    A key with the scope `admin` sees every key, others themselves and the sum of the rest.
    """

    total: Spent
    days: list[DayOfAnswers]
    models: list[ModelsAnswers]
    keys: list[KeysAnswers]


class AskRange(Request):
    """Of a dataset, or of so many examples; what is left out is as "auto" would have it."""

    baseModel: str = Field(description="A base model, or a tuned model to be tuned further.")
    dataset: str | None = Field(None, description="A dataset's id; its examples are counted.")
    examples: int | None = Field(None, ge=1, description="In the place of a dataset.")
    tokensPerExample: float | None = Field(
        None, gt=0, description="What the examples come to; measured or guessed otherwise."
    )
    epochs: int | None = Field(None, ge=1, le=MAX_EPOCHS)
    batchSize: int | None = Field(None, ge=1, le=MAX_BATCH_SIZE)
    method: Literal["lora", "full"] = "lora"
    objective: Literal["supervised", "dpo"] = "supervised"


class MinutesRange(BaseModel):
    low: int
    likely: int
    high: int


class CostRange(BaseModel):
    low: float
    likely: float
    high: float


class Resolved(BaseModel):
    """What "auto" comes to for these examples."""

    epochs: int
    batchSize: int
    learningRate: float
    steps: int


class EstimateRange(BaseModel):
    """`isMeasured`: the speed is that of earlier jobs like it here, and the range is narrow."""

    baseModel: str
    examples: int
    tokensPerExample: float
    tokens: int
    minutes: MinutesRange
    cost: CostRange
    currency: Literal["USD"]
    device: str
    tokensPerSecond: float
    isMeasured: bool
    hyperparameters: Resolved
