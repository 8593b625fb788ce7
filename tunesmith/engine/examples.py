"""What a run learns from, as tokens: answers to imitate, or two of which one is preferred."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Example:
    """One text; `loss_mask[i]` says whether the model learns to produce token i."""

    token_ids: list[int]
    loss_mask: list[bool]

    @property
    def examples(self) -> tuple["Example", ...]:
        return (self,)

    @property
    def num_supervised_tokens(self) -> int:
        return sum(self.loss_mask)


@dataclass(slots=True, eq=False)
class Pair:
    """Two answers to one prompt, the first of which is preferred.

    `reference` are the log-probabilities of both under the reference model, once somebody
    needed them.
    """

    chosen: Example
    rejected: Example
    reference: tuple[float, float] | None = None

    @property
    def examples(self) -> tuple[Example, ...]:
        return (self.chosen, self.rejected)


@dataclass(frozen=True, slots=True)
class Turns:
    """The answers of one conversation, in texts of their own: see `answers`."""

    examples: tuple[Example, ...]


Row = Example | Turns | Pair  # a training file holds rows of one kind


def apart(rows: Iterable[Row]) -> list[Row]:
    """What belongs together when it is computed: a preference, but not the turns of one row."""
    return [part for row in rows for part in (row.examples if isinstance(row, Turns) else (row,))]


def num_tokens(row: Row) -> int:
    """A prompt counts for each text that begins with it."""
    return sum(len(example.token_ids) for example in row.examples)


def num_supervised_tokens(row: Row) -> int:
    return sum(example.num_supervised_tokens for example in row.examples)
