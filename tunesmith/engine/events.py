"""What the engine tells while it trains and answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Progress of tokenising a file: a breathing point for whoever drives the engine."""

    num_rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """Training begins or goes on after `step`."""

    step: int  # optimizer steps already done: 0, or the resumed checkpoint's
    total_steps: int
    num_examples: int
    num_validation_examples: int
    notes: tuple[str, ...] = ()  # sentences that a person should read, such as a shortcut not taken


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead:
    """All rows are tokenised, some of them by turns with the first steps."""

    num_examples: int
    tokens_per_epoch: int
    supervised_tokens_per_epoch: int
    num_truncated_examples: int
    mask_sha256: str  # the mask certificate: see `data.MaskDigest`
    notes: tuple[str, ...] = ()  # sentences, such as how much is lost to truncation


@dataclass(frozen=True, slots=True, kw_only=True)
class StepDone:
    """One optimizer step; the validation figures are set where it was followed by an evaluation."""

    step: int  # 1 … total_steps
    total_steps: int
    epoch: float  # epochs done after this step
    loss: float  # mean cross-entropy in nats over the step's supervised tokens; of DPO, over pairs
    token_accuracy: float  # share of supervised (DPO: chosen) tokens that were the argmax, 0…1
    learning_rate: float
    grad_norm: float  # before clipping
    num_tokens: int  # tokens of the step's examples, shared prefixes counted for each
    seconds: float  # the device's for this step, evaluation apart; of shared passes a share
    validation_loss: float | None = None  # a small batch of the validation rows
    validation_token_accuracy: float | None = None
    full_validation_loss: float | None = None  # all validation rows, at epoch ends
    full_validation_token_accuracy: float | None = None
    # Of DPO alone: the implicit rewards, beta times the log-ratio to the reference model.
    chosen_reward: float | None = None
    rejected_reward: float | None = None
    reward_accuracy: float | None = None  # share of pairs whose chosen answer has the higher reward
    reward_margin: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluating:
    """Progress of an evaluation: a breathing point for whoever drives the engine."""

    step: int
    num_batches_done: int
    num_batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointSaved:
    """A complete, durable checkpoint folder; `epoch` is set where it ends one."""

    step: int
    epoch: int | None
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Healed:
    """A step went wrong, and the run goes on from `step`: after "rolled_back", those behind it are
    done and told again.
    """

    step: int
    kind: Literal["smaller_batches", "rolled_back"]
    message: str  # sentences that say what went wrong, and what was done


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedEarly:
    """The validation loss has not fallen for as long as the run was to wait; it finishes now.

    What it finishes with are its last weights, not those of `best_validation_loss`.
    """

    step: int
    total_steps: int  # that there would have been
    num_evaluations: int  # without a better loss
    best_validation_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """Ended on request, with a checkpoint to go on from (None: no step had been done)."""

    step: int
    path: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The adapter is on disk as a PEFT folder."""

    step: int
    path: Path
    trained_tokens: int  # tokens of all examples, times epochs


TrainEvent = (
    Reading
    | Started
    | DataRead
    | StepDone
    | Evaluating
    | CheckpointSaved
    | Healed
    | EndedEarly
    | Stopped
    | Finished
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Likely:
    """A token that could stand in a place. `token` is its text, `token_bytes` the exact bytes."""

    token: str
    token_bytes: tuple[int, ...]
    logprob: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenLogprob:
    """`logprob` (natural) is None for the first token of an echoed prompt."""

    token: str
    token_bytes: tuple[int, ...]
    logprob: float | None
    top: tuple[Likely, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta:
    """The next piece of an answer; pieces joined are the whole text."""

    request_id: str
    text: str
    num_tokens: int  # completion tokens so far
    logprobs: tuple[TokenLogprob, ...] = ()  # of the tokens that `text` is made of


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCalled:
    """A whole call of a tool; its text is in no delta. `arguments` is JSON text."""

    request_id: str
    index: int  # of the answer's calls, from 0
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    request_id: str
    embedding: tuple[float, ...]
    prompt_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleDone:
    request_id: str
    finish_reason: str  # "stop", "length" or "tool_calls"
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFailed:
    request_id: str
    code: str  # a slug of engine.errors
    message: str


SampleEvent = TextDelta | ToolCalled | Embedded | SampleDone | SampleFailed
