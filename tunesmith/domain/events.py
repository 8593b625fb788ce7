"""What happened to a job, in the order in which it happened."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID


class EventKind(StrEnum):
    CREATED = "created"
    VALIDATING = "validating"
    VALIDATED = "validated"
    STARTED = "started"
    RESUMED = "resumed"  # after an interruption or a pause
    NOTE = "note"  # something a person should know, such as truncated examples
    STEP = "step"
    CHECKPOINT = "checkpoint"
    INTERRUPTED = "interrupted"  # a worker or host was lost; the job waits for another
    PAUSED = "paused"
    UNPAUSED = "unpaused"  # its owner wants it to go on; it waits for a worker
    MODEL_CREATED = "model_created"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    STOPPED = "stopped"
    RESTARTED = "restarted"  # from the beginning: what was before counts no more
    DEPLOYED = "deployed"


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`data` holds plain values; each dialect has its own words for them.

    A `STEP` event is the metric point of its step; there is one for each step, also after a resume.
    """

    id: UUID
    job_id: UUID
    created_at: datetime
    kind: EventKind
    level: Level = Level.INFO
    step: int | None = None
    # Milliseconds since 1970, more for each event of a job; given when it is stored.
    logged_ms: int = field(default=0, compare=False)
    data: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """The figures of one optimizer step; the validation ones where it was evaluated."""

    step: int
    total_steps: int
    train_loss: float
    train_token_accuracy: float
    learning_rate: float
    grad_norm: float
    tokens: int
    seconds: float
    validation_loss: float | None = None
    validation_token_accuracy: float | None = None
    full_validation_loss: float | None = None
    full_validation_token_accuracy: float | None = None
    # Of DPO alone: the implicit rewards, beta times the log-ratio to the reference model.
    chosen_reward: float | None = None
    rejected_reward: float | None = None
    reward_accuracy: float | None = None  # share of pairs whose chosen answer has the higher reward
    reward_margin: float | None = None
