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
from tunesmith.domain.devices import Device
from tunesmith.domain.events import Metrics
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.jobs import Failure, MaskCertificate, Task

LEASE_SECONDS = 60.0
RENEW_SECONDS = 10.0  # a lease that is younger is not written anew
ASK_SECONDS = 3.0  # how long a worker with nothing to tell waits before it asks what is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    """A base model that a worker holds, or is loading, for training."""

    base_model: str
    fingerprint: str | None
    takes_more: bool  # whether its host has room for one more run


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a worker could begin to train at once: `residents`, and others where it has a place."""

    residents: tuple[Resident, ...] = ()
    takes_others: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """A worker's name is stable, its incarnation new with each start of the process.

    A registration ends the leases of the same name's earlier incarnations: they are dead.
    """

    name: str
    incarnation: UUID
    version: str
    devices: tuple[Device, ...] = ()  # those that its hosts compute with
    room: Room = Room()  # as it is when a training is asked for


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
    method: Method = Method.SUPERVISED
    initial_adapter: tuple[
        Artifact, ...
    ] = ()  # of the tuned model that is tuned further, if one is
    resume_from: tuple[Artifact, ...] = ()  # the newest checkpoint; empty for a fresh start
    traceparent: str | None = None  # the job's

    @property
    def host_owner(self) -> str:
        """Who has the host for itself; empty where jobs share one."""
        return str(self.job_id) if self.hyperparameters.trains_all_weights else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Validated:
    num_examples: int
    type: Literal["validated"] = "validated"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingStarted:
    step: int  # already done, by an earlier attempt
    total_steps: int
    num_examples: int
    notes: tuple[str, ...] = ()
    startup_seconds: float | None = None  # since the attempt began
    type: Literal["training_started"] = "training_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead:
    """All examples have been looked at, by the end of the first epoch at the latest."""

    num_examples: int
    num_truncated_examples: int
    mask: MaskCertificate | None = None  # of a worker that tells it
    notes: tuple[str, ...] = ()
    type: Literal["data_read"] = "data_read"


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReported:
    metrics: Metrics
    remaining_seconds: float | None = None
    type: Literal["step"] = "step"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingHealed:
    """A step went wrong, and the training goes on by itself from `step`.

    Where it `went_back`, the steps behind that one are told again.
    """

    step: int
    went_back: bool
    message: str  # sentences
    type: Literal["healed"] = "healed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPublished:
    """All artifacts are stored as blobs before this is said. `epoch` is set at an epoch's end."""

    step: int
    epoch: int | None
    artifacts: tuple[Artifact, ...]
    type: Literal["checkpoint"] = "checkpoint"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEndedEarly:
    """The validation loss has not fallen for as long as the job was to wait. It finishes now."""

    step: int
    total_steps: int  # that there would have been
    num_evaluations: int  # without a better loss
    best_validation_loss: float | None  # None where none was a finite number
    type: Literal["ended_early"] = "ended_early"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptHalted:
    """Neither job nor machine is lost, but a person has to help: the job is paused until then."""

    reason: str  # a sentence
    type: Literal["halted"] = "halted"


Report = (
    Validated
    | TrainingStarted
    | DataRead
    | StepReported
    | TrainingHealed
    | CheckpointPublished
    | TrainingEndedEarly
    | TrainingFinished
    | TrainingFailed
    | AttemptLost
    | AttemptReleased
    | AttemptHalted
)
ENDINGS = (
    Validated,
    TrainingFinished,
    TrainingFailed,
    AttemptLost,
    AttemptReleased,
    AttemptHalted,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBatch:
    """Reports in order; an empty batch renews the lease.

    `sequence` counts the batches of an attempt from 1, so that a batch which is sent again, because
    its answer was lost, is stored once.
    """

    sequence: int
    reports: tuple[Report, ...] = ()
    host_memory_bytes: int | None = None  # resident, of the host that works on the attempt


class Wish(StrEnum):
    """What a job's owner wants of an attempt. (A job that is to end has no attempt any more.)"""

    PAUSE = "pause"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The answer to a batch: it is stored. Every one says what is wanted, until it has come about.

    An attempt that is to pause stops at a checkpoint, publishes it, and is released.
    """

    wanted: Wish | None = None


class SamplePart(StrEnum):
    DELTA = "delta"
    TOOL_CALL = "tool_call"
    EMBEDDING = "embedding"  # the only part of the answer to an `EmbedRequest`
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSource:
    id: str
    artifacts: tuple[Artifact, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRequest:
    """One answer wanted. Exactly one of `messages`, `prompt` and `prompt_token_ids` is set.

    `tools` are function definitions as OpenAI's chat API spells them (`{"type": "function",
    "function": {"name", "description", "parameters"}}`). The answer calls one of `required_tools`
    where there are any, and is free to call any tool or none where there are none. `json_schema`
    is what the answer's text must satisfy; `{"type": "object"}` is plain JSON mode.

    `top_logprobs` asks for the log-probability of each token and of so many of the likeliest in its
    place; 0 for the token's own alone. `echo` gives the prompt, with log-probabilities where they
    are asked for, before the answer.
    """

    request_id: str
    base_model: BaseModel
    adapter: AdapterSource | None
    messages: list[dict[str, Any]] | None = None
    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None  # draw from so many of the likeliest tokens
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0  # above 0; above 1 tokens of prompt and answer get less likely
    stop: tuple[str, ...] = field(default=())
    seed: int | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)  # token id -> added to its logit
    top_logprobs: int | None = None
    echo: bool = False
    tools: list[dict[str, Any]] | None = None
    required_tools: tuple[str, ...] = ()
    parallel_tool_calls: bool = True
    json_schema: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedRequest:
    """The embedding of one text wanted; one of `text` and `token_ids` is set."""

    request_id: str
    base_model: BaseModel
    adapter: AdapterSource | None
    text: str | None = None
    token_ids: list[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCancel:
    request_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoMoreRequests:
    """What a worker says that is leaving; and the server to it, after the last request."""

    no_more_requests: Literal[True]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsWait:
    """There may be something to do that was not there before: a worker is to ask for it."""

    jobs_wait: Literal[True]


@dataclass(frozen=True, slots=True, kw_only=True)
class AskAgain:
    """Something else may be wanted of a job: who is at work on it is to ask."""

    ask_again: UUID


News = JobsWait | AskAgain

# What goes to a worker over the connection for answers.
Asked = SampleRequest | EmbedRequest | SampleCancel | NoMoreRequests | News


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """A token that could stand in a place. `token` is its text, `token_bytes` the exact bytes."""

    token: str
    token_bytes: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """A token of an answer; `logprob` (natural) is None for the first token of an echoed prompt."""

    token: str
    token_bytes: tuple[int, ...]
    logprob: float | None
    top: tuple[Likely, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """`index` counts an answer's calls from 0; `arguments` is JSON text as the model wrote it."""

    index: int
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleOutput:
    """A piece of an answer, or its end. `code` and `message` are set where it failed.

    `finish_reason` is "stop", "length" or "tool_calls". The text of a tool call is in no delta.
    """

    request_id: str
    part: SamplePart
    text: str = ""
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens that `text` is made of
    tool_call: ToolCall | None = None
    embedding: tuple[float, ...] = ()
    finish_reason: str | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    code: str | None = None
    message: str | None = None

    @property
    def is_last(self) -> bool:
        """Of its request's."""
        return self.part not in (SamplePart.DELTA, SamplePart.TOOL_CALL)


Answered = SampleOutput | NoMoreRequests  # what comes back from it
