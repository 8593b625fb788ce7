"""The worker protocol's messages: what a worker is given, and what it reports.

A worker *registers*, then *leases* one assignment after another. Everything that it says about a
job carries the attempt number of its lease; once a lease is over, the server refuses that attempt
(409) and the worker ends it. Files travel as blobs, named by their SHA-256.
"""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.events import Metrics
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Failure, Task

LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A worker's name is stable, its incarnation new with each start of the process.

    A registration ends the leases of the same name's earlier incarnations: they are dead.
    """

    name: str
    incarnation: UUID
    version: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    job_id: UUID
    attempt: int
    task: Task
    base_model: BaseModel
    training_file: Blob
    validation_file: Blob | None
    hyperparameters: Hyperparameters
    seed: int
    resume_from: tuple[Artifact, ...] = ()  # the newest checkpoint; empty for a fresh start


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    num_examples: int
    type: Literal["validated"] = "validated"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    step: int  # already done, by an earlier attempt
    total_steps: int
    num_examples: int
    num_truncated_examples: int
    notes: tuple[str, ...] = ()
    type: Literal["training_started"] = "training_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReported:
    metrics: Metrics
    remaining_seconds: float | None = None
    type: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPublished:
    """All artifacts are stored as blobs before this is said. `epoch` is set at an epoch's end."""

    step: int
    epoch: int | None
    artifacts: tuple[Artifact, ...]
    type: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFinished:
    step: int
    trained_tokens: int
    artifacts: tuple[Artifact, ...]
    type: Literal["finished"] = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFailed:
    """The job itself is at fault: it ends as failed."""

    failure: Failure
    type: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptLost:
    """The machine is at fault, not the job: it goes back into the queue."""

    reason: str
    type: Literal["lost"] = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptReleased:
    """The worker is leaving in good order, after a checkpoint."""

    type: Literal["released"] = "released"


Report = (
    Validated
    | TrainingStarted
    | StepReported
    | CheckpointPublished
    | TrainingFinished
    | TrainingFailed
    | AttemptLost
    | AttemptReleased
)
ENDINGS = (Validated, TrainingFinished, TrainingFailed, AttemptLost, AttemptReleased)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBatch:
    """Reports in order; an empty batch renews the lease.

    `sequence` counts the batches of an attempt from 1, so that a batch which is sent again, because
    its answer was lost, is stored once.
    """

    sequence: int
    reports: tuple[Report, ...] = ()


class SamplePart(StrEnum):
    DELTA = "delta"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSource:
    id: str
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """One answer wanted. Exactly one of `messages`, `prompt` and `prompt_token_ids` is set."""

    request_id: str
    base_model: BaseModel
    adapter: AdapterSource | None
    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = field(default=())
    seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCancel:
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOutput:
    """A piece of an answer, or its end. `code` and `message` are set where it failed."""

    request_id: str
    part: SamplePart
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    code: str | None = None
    message: str | None = None
