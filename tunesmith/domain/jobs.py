"""Fine-tuning jobs and the states that they pass through."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.errors import WrongState
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.models import TunedModel


class JobStatus(StrEnum):
    DRAFT = "draft"
    VALIDATING = "validating"
    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_final(self) -> bool:
        return self in (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)


class Task(StrEnum):
    """What the queue wants done next for a job."""

    VALIDATE = "validate"
    TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file as it was when the job was made: deleting it later does not disturb the job."""

    file_id: UUID
    blob: Blob


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed: a slug, a sentence, and the job's field at fault."""

    code: str
    message: str
    param: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """Somewhere else that a job's figures are wanted. `kind` names the product, such as "wandb"."""

    kind: str
    project: str
    name: str | None
    entity: str | None
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """`initial_model` is the tuned model that is tuned further, as it was when the job was made."""

    id: UUID
    organization_id: UUID
    base_model: str
    training_file: PinnedFile
    validation_file: PinnedFile | None
    hyperparameters: Hyperparameters
    seed: int
    suffix: str | None
    metadata: dict[str, str] | None
    status: JobStatus
    attempt: int  # raised by each lease; the fencing token is (id, attempt)
    created_at: datetime
    finished_at: datetime | None = None
    estimated_finish_at: datetime | None = None
    trained_tokens: int | None = None
    failure: Failure | None = None
    tuned_model_short_id: str | None = None
    results_file_id: UUID | None = None
    method: Method = Method.SUPERVISED
    initial_model: TunedModel | None = None
    integrations: tuple[Integration, ...] = ()
    is_pause_wanted: bool = False  # by its owner; its worker has still to stop at a checkpoint
    request_digest: str | None = None  # what was asked for and by which key, to know it again

    def validated(self, hyperparameters: Hyperparameters) -> "Job":
        self._require("queued", JobStatus.VALIDATING)
        return replace(self, status=JobStatus.QUEUED, hyperparameters=hyperparameters)

    def started(self) -> "Job":
        self._require("started", JobStatus.QUEUED)
        return replace(self, status=JobStatus.RUNNING)

    def requeued(self) -> "Job":
        self._require("queued again", JobStatus.RUNNING)
        return replace(self, status=JobStatus.QUEUED, estimated_finish_at=None)

    def pausing(self) -> "Job":
        """Its owner wants a pause, for which its worker has first to stop at a checkpoint."""
        self._require("paused", JobStatus.RUNNING)
        return replace(self, is_pause_wanted=True)

    def paused(self) -> "Job":
        self._require("paused", JobStatus.QUEUED, JobStatus.RUNNING)
        return replace(
            self, status=JobStatus.PAUSED, is_pause_wanted=False, estimated_finish_at=None
        )

    def resumed(self) -> "Job":
        """It waits for a worker again; or goes on, where the pause has not yet come about."""
        if self.is_pause_wanted:
            return replace(self, is_pause_wanted=False)
        self._require("resumed", JobStatus.PAUSED)
        return replace(self, status=JobStatus.QUEUED)

    def stopped(self, now: datetime) -> "Job":
        if self.status.is_final:
            raise WrongState("stopped", self.status)
        return replace(
            self,
            status=JobStatus.STOPPED,
            finished_at=now,
            estimated_finish_at=None,
            is_pause_wanted=False,
        )

    def failed(self, failure: Failure, now: datetime) -> "Job":
        self._require("failed", JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.RUNNING)
        return replace(
            self,
            status=JobStatus.FAILED,
            failure=failure,
            finished_at=now,
            estimated_finish_at=None,
            is_pause_wanted=False,
        )

    def succeeded(
        self,
        *,
        tuned_model_short_id: str,
        results_file_id: UUID,
        trained_tokens: int,
        now: datetime,
    ) -> "Job":
        self._require("finished", JobStatus.RUNNING)
        return replace(
            self,
            status=JobStatus.SUCCEEDED,
            finished_at=now,
            estimated_finish_at=None,
            is_pause_wanted=False,
            tuned_model_short_id=tuned_model_short_id,
            results_file_id=results_file_id,
            trained_tokens=trained_tokens,
        )

    def _require(self, action: str, *statuses: JobStatus) -> None:
        if self.status not in statuses:
            raise WrongState(action, self.status)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """What a caller asks for when creating a job. `base_model` may be an alias."""

    base_model: str
    initial_model: TunedModel | None = None
    training_file_id: UUID
    validation_file_id: UUID | None = None
    method: Method = Method.SUPERVISED
    hyperparameters: Hyperparameters = field(default_factory=Hyperparameters)
    seed: int | None = None
    suffix: str | None = None
    metadata: dict[str, str] | None = None
    integrations: tuple[Integration, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are asked for: those that carry all of these pairs, or those without any."""

    metadata: tuple[tuple[str, str], ...] = ()
    has_no_metadata: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """Where a job was at a step: enough to go on from.

    At an epoch's end, and where the job was paused, it is also a model that answers; after the last
    step it is the job's own.
    """

    id: UUID
    job_id: UUID
    step: int
    epoch: int | None
    artifacts: tuple[Artifact, ...]
    tuned_model_short_id: str | None
    metrics: dict[str, float]
    created_at: datetime
