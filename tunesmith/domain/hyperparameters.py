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
MAX_BETA = 2.0
MAX_LEARNING_RATE = 100.0
MAX_WARMUP_STEPS = 1_000_000_000
DEFAULT_BETA = 0.1  # of Rafailov et al. 2023, arXiv 2305.18290


class Method(StrEnum):
    """How a job learns: from examples to imitate, or from pairs of which one is preferred."""

    SUPERVISED = "supervised"
    DPO = "dpo"


# Of the base model's learning rate. Preferences want smaller steps than imitation.
LEARNING_RATE_SHARE = {Method.SUPERVISED: 1.0, Method.DPO: 0.1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What a job asks for; after validation nothing is "auto" any more.

    `learning_rate` is the peak itself, in the place of the base model's own times the multiplier.
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

    def __post_init__(self) -> None:
        _check_range("num_epochs", self.num_epochs, 1, MAX_EPOCHS)
        _check_range("batch_size", self.batch_size, 1, MAX_BATCH_SIZE)
        _check_range("lora_rank", self.lora_rank, 1, MAX_LORA_RANK)
        if self.warmup_steps is not None:
            _check_range("warmup_steps", self.warmup_steps, 0, MAX_WARMUP_STEPS)
        if self.learning_rate is not None and not 0 < self.learning_rate <= MAX_LEARNING_RATE:
            raise InvalidRequest(
                f"The learning rate must be above 0 and at most {MAX_LEARNING_RATE}, "
                f"not {self.learning_rate}.",
                param="learning_rate",
            )
        multiplier = self.learning_rate_multiplier
        if multiplier != AUTO and not 0 < multiplier <= 1000:
            raise InvalidRequest(
                f"The learning rate multiplier must be above 0 and at most 1000, not {multiplier}.",
                param="learning_rate_multiplier",
            )
        if self.beta != AUTO and not 0 < self.beta <= MAX_BETA:
            raise InvalidRequest(
                f"beta must be above 0 and at most {MAX_BETA}, not {self.beta}.", param="beta"
            )

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


def _check_range(name: str, value: int | Auto, low: int, high: int) -> None:
    if value != AUTO and not low <= value <= high:
        sentence = f"{name} must be between {low} and {high}, not {value}."
        raise InvalidRequest(sentence, param=name)
