"""The base-model catalogue: what can be tuned and asked."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from tunesmith.domain.files import Artifact

DEFAULT_LEARNING_RATE = 2e-4  # the usual start for LoRA on models of 1B parameters and more
# What a decoder can be tuned for, each by writing its answer as text.
TASKS = ("text-generation", "classification", "summarization")
_IDS = UUID(
    "6f0c7c2e-52a5-4f5e-9a4b-0d8b1f3f6a71"
)  # any constant: ids are the same on every server


class Quantization(StrEnum):
    """How a host holds the weights of the linear layers, other than as they are."""

    NF4 = "nf4"  # in 4 bits, by bitsandbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownModel:
    """What is publicly known of a model that this installation may not have.

    `num_parameters` is rounded as its makers round it; `size` is that number in their words.
    `context_tokens` is without scaling of positions. None is what we are not sure of.
    """

    name: str
    display_name: str
    provider: str
    hub_id: str
    num_parameters: int
    size: str
    context_tokens: int
    licence: str
    aliases: tuple[str, ...] = ()
    tasks: tuple[str, ...] = TASKS
    is_gated: bool | None = None  # whether its makers want to be asked first

    def fits(self, num_parameters: int) -> bool:
        """Whether weights of so many parameters may be this model.

        Some files repeat the embeddings as the output head, some makers leave them out.
        """
        return 0.6 <= num_parameters / self.num_parameters <= 1.6


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    name: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A catalogue entry. `folder`, on the server's machine, holds weights and tokenizer.

    `learning_rate` is what a learning-rate multiplier of 1 means for this model.

    A tuned model whose weights were all trained is made one for workers, with `artifacts` in the
    place of a folder.
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
    fingerprint: str | None = None  # of the files, as they were when the entry was made
    hub_id: str | None = None  # the Hugging Face id, by which the model is found too
    display_name: str | None = None
    provider: str | None = None
    licence: str | None = None
    description: str | None = None
    nominal_size: str | None = None  # such as "70B", of a model with 70.6 billion parameters
    tasks: tuple[str, ...] = TASKS
    calls_functions: bool = False  # its chat template has a place for tools
    artifacts: tuple[Artifact, ...] = ()
    quantization: Quantization | None = None  # where hosts pack the weights

    @property
    def id(self) -> UUID:
        """The same wherever a model has this name."""
        return uuid5(_IDS, self.name)

    @property
    def title(self) -> str:
        return self.display_name or self.name

    @property
    def size(self) -> str:
        """The number of parameters as people say it, such as "8B"."""
        return self.nominal_size or _rounded(self.num_parameters)


def _rounded(num_parameters: int) -> str:
    """To two digits: 8_030_261_248 is "8B", 1_711_376_384 is "1.7B"."""
    for unit, symbol in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if num_parameters >= 0.995 * unit:
            return f"{float(f'{num_parameters / unit:.2g}'):g}{symbol}"
    return str(num_parameters)
