"""Hyperparameters: their limits, and what "auto" means."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from tunesmith.domain.errors import InvalidRequest

Auto = Literal["auto"]
AUTO: Auto = "auto"

MAX_EPOCHS = 50
MAX_BATCH_SIZE = 256
MAX_LORA_RANK = 256
MAX_LORA_ALPHA = 4096.0
MAX_LORA_DROPOUT = 0.9
MAX_LORA_TARGETS = 64
MAX_TARGET_LENGTH = 256
MAX_WEIGHT_DECAY = 10.0
MAX_GRAD_NORM = 1e6
MAX_BETA = 2.0
MAX_LEARNING_RATE = 100.0
MAX_LEARNING_RATE_MULTIPLIER = 1000.0
MAX_WARMUP_STEPS = 1_000_000_000
DEFAULT_BETA = 0.1  # of Rafailov et al. 2023, arXiv 2305.18290


class Schedule(StrEnum):
    """How the learning rate goes on behind the warm-up."""

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"


class Method(StrEnum):
    """How a job learns: from examples to imitate, or from pairs of which one is preferred."""

    SUPERVISED = "supervised"
    DPO = "dpo"


# Of the base model's learning rate. Preferences want smaller steps than imitation.
LEARNING_RATE_SHARE = {Method.SUPERVISED: 1.0, Method.DPO: 0.1}
ALL_WEIGHTS_SHARE = 0.1  # that rate is meant for adapters; a whole model forgets more at it


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What a job asks for; after validation nothing is "auto" any more.

    `learning_rate` is the peak itself, in the place of the base model's own times the multiplier.
    `lora_targets` are names of linear layers, or ends of them; none means all of the decoder's.
    `early_stopping_patience` counts epochs in a row whose validation loss does not fall.
    With `trains_all_weights` there is no adapter, so what concerns LoRA is not heeded.
    """

    num_epochs: int | Auto = AUTO
    batch_size: int | Auto = AUTO
    learning_rate_multiplier: float | Auto = AUTO
    learning_rate: float | None = None
    warmup_steps: int | None = None  # in the place of a share of all steps
    beta: float | Auto = AUTO  # of DPO: how strongly the model is held to where it started
    lora_rank: int = 16
    lora_alpha: float = 32.0
    lora_dropout: float = 0.0
    lora_targets: tuple[str, ...] = ()
    use_rslora: bool = False
    lr_schedule: Schedule = Schedule.COSINE
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    early_stopping_patience: int | None = None
    trains_all_weights: bool = False

    def __post_init__(self) -> None:
        _check_range("num_epochs", self.num_epochs, 1, MAX_EPOCHS)
        _check_range("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        _check_range("lora_rank", self.lora_rank, 1, MAX_LORA_RANK)
        if self.warmup_steps is not None:
            _check_range("warmup_steps", self.warmup_steps, 0, MAX_WARMUP_STEPS)
        if self.early_stopping_patience is not None:
            patience = self.early_stopping_patience
            _check_range("early_stopping_patience", patience, 1, MAX_EPOCHS)
        if self.learning_rate is not None:
            _check_above_0("learning_rate", self.learning_rate, MAX_LEARNING_RATE)
        if self.learning_rate_multiplier != AUTO:
            multiplier = self.learning_rate_multiplier
            _check_above_0("learning_rate_multiplier", multiplier, MAX_LEARNING_RATE_MULTIPLIER)
        if self.beta != AUTO:
            _check_above_0("beta", self.beta, MAX_BETA)
        _check_above_0("lora_alpha", self.lora_alpha, MAX_LORA_ALPHA)
        _check_above_0("max_grad_norm", self.max_grad_norm, MAX_GRAD_NORM)
        _check_range("lora_dropout", self.lora_dropout, 0, MAX_LORA_DROPOUT)
        _check_range("weight_decay", self.weight_decay, 0, MAX_WEIGHT_DECAY)
        _check_targets(self.lora_targets)

    def learning_rate_share(self, method: Method) -> float:
        """Of the base model's learning rate, where the job names none."""
        share = LEARNING_RATE_SHARE[method]
        return share * ALL_WEIGHTS_SHARE if self.trains_all_weights else share

    def resolved(self, num_examples: int) -> "Hyperparameters":
        """With numbers in the place of every "auto".

        Epochs follow the rule of OpenAI's cookbook (three, more for small files, fewer for very
        large ones). A batch is about a sixtieth of the examples, at most 32.
        """
        return replace(
            self,
            num_epochs=_auto_epochs(num_examples) if self.num_epochs == AUTO else self.num_epochs,
            batch_size=(
                max(1, min(32, num_examples // 60)) if self.batch_size == AUTO else self.batch_size
            ),
            learning_rate_multiplier=(
                1.0 if self.learning_rate_multiplier == AUTO else self.learning_rate_multiplier
            ),
            beta=DEFAULT_BETA if self.beta == AUTO else self.beta,
        )


def _auto_epochs(num_examples: int) -> int:
    if 3 * num_examples < 100:
        return min(25, 100 // num_examples)
    if 3 * num_examples > 25_000:
        return max(1, 25_000 // num_examples)
    return 3


def _check_range(name: str, value: float | Auto, low: float, high: float) -> None:
    if value != AUTO and not low <= value <= high:
        sentence = f"{name} must be between {low} and {high}, not {value}."
        raise InvalidRequest(sentence, param=name)


def _check_above_0(name: str, value: float, high: float) -> None:
    if not 0 < value <= high:
        words = name.replace("_", " ")
        sentence = f"The {words} must be above 0 and at most {high:g}, not {value}."
        raise InvalidRequest(sentence, param=name)


def _check_targets(targets: tuple[str, ...]) -> None:
    if len(targets) > MAX_LORA_TARGETS:
        sentence = f"At most {MAX_LORA_TARGETS} layers can be named, not {len(targets)}."
        raise InvalidRequest(sentence, param="lora_targets")
    if not all(1 <= len(target) <= MAX_TARGET_LENGTH for target in targets):
        sentence = f"A layer's name has 1 to {MAX_TARGET_LENGTH} characters."
        raise InvalidRequest(sentence, param="lora_targets")
