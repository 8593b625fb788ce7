"""The base-model catalogue: what can be tuned and asked."""

from dataclasses import dataclass, field
from datetime import datetime

DEFAULT_LEARNING_RATE = 2e-4  # the usual start for LoRA on models of 1B parameters and more


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A catalogue entry. `folder`, on the server's machine, holds weights and tokenizer.

    `learning_rate` is what a learning-rate multiplier of 1 means for this model.
    """

    name: str
    aliases: tuple[str, ...]
    folder: str
    source: str  # where the folder came from: a path, or a Hugging Face id and revision
    num_parameters: int
    context_tokens: int
    learning_rate: float = DEFAULT_LEARNING_RATE
    files: tuple[WeightFile, ...] = field(default=())
    created_at: datetime
