"""What the engine is asked to do: plain values, so that they travel as JSON."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ALL_LINEAR = "all-linear"

Method = Literal["supervised", "dpo"]
LearningRateSchedule = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoraSpec:
    """The shape of a LoRA adapter (Hu et al. 2021, arXiv 2106.09685).

    `targets` are module names as PEFT understands them, or `("all-linear",)`: every linear layer
    of the decoder but the output head. rsLoRA scales by alpha / sqrt(rank), not alpha / rank.
    """

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    targets: tuple[str, ...] = (ALL_LINEAR,)
    use_rslora: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """One run on the resident base model, which trains an adapter, or `trains_all_weights`.

    The run starts from `initial_adapter`, a PEFT folder whose rank and alpha it keeps, or from a
    fresh adapter of the shape `lora`. The reference model of DPO is where the run starts: that
    adapter, or the base alone. A run that trains all weights starts from the base, and has it to
    itself; `lora` is not heeded.

    `output_dir` gets `checkpoints/step-N/` while the run goes on, and at its end `adapter/`, or
    `model/` where all weights are trained.
    `resume_from` is one of those checkpoint folders; the run then goes on as if never interrupted.
    """

    run_id: str
    training_file: Path
    validation_file: Path | None = None
    output_dir: Path
    method: Method = "supervised"
    beta: float = 0.1  # of DPO (Rafailov et al. 2023, arXiv 2305.18290)
    initial_adapter: Path | None = None
    resume_from: Path | None = None
    trains_all_weights: bool = False
    lora: LoraSpec = field(default_factory=LoraSpec)
    num_epochs: int
    batch_size: int  # examples per optimizer step
    learning_rate: float
    warmup_ratio: float = 0.05  # share of all steps that the rate rises from 0 linearly
    warmup_steps: int | None = None  # in the place of that share
    lr_schedule: LearningRateSchedule = "cosine"  # after the warm-up
    min_learning_rate_ratio: float = 0.1  # where a decay ends
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    seed: int
    max_length_tokens: int
    micro_batch_tokens: int = 2048  # packed tokens in one forward and backward
    evaluation_batch_steps: int = 10  # a small validation batch every so many steps
    checkpoint_every_seconds: float = 60.0  # beside the one at each epoch's end
    early_stopping_patience: int | None = None  # epochs in a row whose validation loss may not fall
    max_rollbacks: int = 2  # of the whole run; with 0 a loss that is no number ends it
    rollback_learning_rate_factor: float = 0.5  # of each rollback
    rollback_steps: int = (
        100  # how many steps a rollback costs at most; an epoch's end bounds it too
    )
    loss_spike_factor: float | None = 5.0  # see `LossHistory`; None: no finite loss is a spike

    def __post_init__(self) -> None:
        if self.trains_all_weights and self.initial_adapter is not None:
            raise ValueError("A run that trains all weights cannot start from an adapter.")
        is_sound = (
            self.max_rollbacks >= 0
            and 0 < self.rollback_learning_rate_factor <= 1
            and self.rollback_steps >= 1
            and (self.loss_spike_factor is None or self.loss_spike_factor > 1)
        )
        if not is_sound:
            raise ValueError("A setting of rollbacks or spikes is out of range.")


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSpec:
    """One answer wanted from the base model, or from one of its adapters.

    Exactly one of `messages` (rendered through the chat template), `prompt` (plain text) and
    `prompt_token_ids` is set. `max_tokens` None means: up to the model's context. `temperature` 0
    is greedy. `stop` strings end the answer and are not part of it. `repetition_penalty`, above 0,
    divides the positive logits of tokens that occur in prompt or answer, and multiplies the others.

    `tools` are function definitions for the chat template. The answer calls one of `required_tools`
    where there are any. `json_schema` is what the text must satisfy. `top_logprobs` asks for
    log-probabilities (0: of the chosen tokens alone); `echo` gives the prompt before the answer.
    """

    request_id: str
    adapter_id: str | None = None
    messages: list[dict[str, Any]] | None = None  # JSON as clients sent it
    prompt: str | None = None
    prompt_token_ids: list[int] | None = None
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    echo: bool = False
    tools: list[dict[str, Any]] | None = None
    required_tools: tuple[str, ...] = ()
    parallel_tool_calls: bool = True
    json_schema: dict[str, Any] | None = None
    ignore_end_of_text: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbedSpec:
    """The mean of a text's last hidden states wanted; one of `text`, `token_ids` is set."""

    request_id: str
    adapter_id: str | None = None
    text: str | None = None
    token_ids: list[int] | None = None
