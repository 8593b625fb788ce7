"""Fine-tuning jobs and the states that they pass through."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.errors import WrongState
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.models import TunedModel
from tunesmith.domain.quotas import DEFAULT_PRIORITY


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


class Action(StrEnum):
    """What a job's owner can do with it; each value ends the sentence "it cannot be …"."""

    STOP = "stopped"
    RESTART = "restarted"
    DEPLOY = "deployed"
    DELETE = "deleted"


_WAITING = frozenset({JobStatus.DRAFT, JobStatus.VALIDATING, JobStatus.QUEUED, JobStatus.PAUSED})

ALLOWED: Mapping[Action, frozenset[JobStatus]] = {
    Action.STOP: _WAITING | {JobStatus.RUNNING},
    Action.RESTART: frozenset({JobStatus.FAILED, JobStatus.STOPPED}),
    Action.DEPLOY: frozenset({JobStatus.SUCCEEDED}),
    Action.DELETE: frozenset(JobStatus) - {JobStatus.RUNNING},
}


class Task(StrEnum):
    """What the queue wants done next for a job."""

    VALIDATE = "validate"
    TRAIN = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedFile:
    """A file as it was when the job was made: deleting it later does not disturb the job.

    `reference` is what the caller named it by, where that is more than its id.
    """

    file_id: UUID
    blob: Blob
    filename: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a job failed: a slug, a sentence, and the job's field at fault.

    Where that is a file: the rule that it breaks, and the line and the path in it.
    """

    code: str
    message: str
    param: str | None = None
    rule: str | None = None
    line: int | None = None
    path: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskCertificate:
    """Which tokens of which rows carry loss, as a digest (`engine.data.MaskDigest`)."""

    sha256: str
    tokens_per_epoch: int
    trained_tokens_per_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job has come: the figures of its newest step, and the newest validation loss.

    `tokens` are those of all steps; what is trained again after an interruption counts once.
    """

    step: int
    total_steps: int
    tokens: int
    train_loss: float | None
    validation_loss: float | None


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
    """`initial_model` is the tuned model that is tuned further, as it was when the job was made.

    `model_name` is the plain name of the model that it leaves behind, decided when it succeeds.
    Where `needs_deployment`, that model answers only after the job's owner has deployed it.
    """

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
    mask: MaskCertificate | None = None  # once all of its data is read
    tuned_model_short_id: str | None = None
    results_file_id: UUID | None = None
    method: Method = Method.SUPERVISED
    initial_model: TunedModel | None = None
    integrations: tuple[Integration, ...] = ()
    is_pause_wanted: bool = False  # by its owner; its worker has still to stop at a checkpoint
    request_digest: str | None = None  # what was asked for and by which key, to know it again
    name: str = ""
    description: str | None = None
    key_id: UUID | None = None  # with which it was made
    needs_deployment: bool = False
    started_at: datetime | None = None  # of the newest attempt to train
    updated_at: datetime | None = None  # when the row was last written; None for what has no row
    progress: Progress | None = None
    model_name: str | None = None
    priority: int = DEFAULT_PRIORITY  # from 1 to 5; 5 goes first
    traceparent: str | None = None  # of the request that made it, as W3C writes a place in a trace

    @property
    def num_trained_tokens(self) -> int:
        """So far, and in the end."""
        if self.trained_tokens is not None:
            return self.trained_tokens
        return 0 if self.progress is None else self.progress.tokens

    @property
    def host_of(self) -> str:
        """Jobs for which this is the same can train on one host."""
        if self.hyperparameters.trains_all_weights:
            return f"{self.base_model} (all weights, {self.id})"
        return self.base_model

    def require(self, action: Action) -> None:
        """Raises `WrongState` where the job is in no status for it."""
        if self.status not in ALLOWED[action]:
            raise WrongState(action, self.status)

    def validated(self, hyperparameters: Hyperparameters) -> "Job":
        self._require("queued", JobStatus.VALIDATING)
        return replace(self, status=JobStatus.QUEUED, hyperparameters=hyperparameters)

    def started(self, now: datetime) -> "Job":
        self._require("started", JobStatus.QUEUED)
        return replace(self, status=JobStatus.RUNNING, started_at=now)

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
        self.require(Action.STOP)
        return replace(
            self,
            status=JobStatus.STOPPED,
            finished_at=now,
            estimated_finish_at=None,
            is_pause_wanted=False,
        )

    def restarted(self) -> "Job":
        """From the beginning, with its data judged anew; its earlier attempts count no more."""
        self.require(Action.RESTART)
        return replace(
            self,
            status=JobStatus.VALIDATING,
            started_at=None,
            finished_at=None,
            failure=None,
            mask=None,
            progress=None,
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
        model_name: str,
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
            model_name=model_name,
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
    name: str | None = None
    description: str | None = None
    needs_deployment: bool = False
    training_reference: str | None = None  # what the caller named the files by
    validation_reference: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs are asked for: those that carry all of these pairs, or those without any."""

    metadata: tuple[tuple[str, str], ...] = ()
    has_no_metadata: bool = False


class JobOrder(StrEnum):
    """What a list of jobs can be sorted by."""

    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    STARTED_AT = "started_at"
    FINISHED_AT = "finished_at"
    NAME = "name"
    STATUS = "status"
    BASE_MODEL = "base_model"
    NUM_TRAINED_TOKENS = "num_trained_tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSearch:
    """Jobs by what they are, a part of the whole list at a time.

    `text` is part of the name or of the description, in letters of either case. Sorted by status,
    jobs come in the order of `statuses_in_order`, group by group. Where `after` is given, the
    offset is not heeded: what follows that job is found at once, however far down the list it is.
    """

    statuses: frozenset[JobStatus] | None = None
    base_model: str | None = None
    text: str | None = None
    order: JobOrder = JobOrder.CREATED_AT
    ascending: bool = False
    statuses_in_order: tuple[frozenset[JobStatus], ...] = ()
    offset: int = 0
    limit: int = 20
    after: UUID | None = None


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
