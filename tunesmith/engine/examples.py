"""What a run learns from, as tokens: an answer to imitate, or two of which one is preferred."""

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


Row = Example | Pair  # a training file holds rows of one kind


def num_tokens(row: Row) -> int:
    """A prompt counts for each of its answers."""
    return sum(len(example.token_ids) for example in row.examples)


def num_supervised_tokens(row: Row) -> int:
    return sum(example.num_supervised_tokens for example in row.examples)
