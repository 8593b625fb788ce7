"""What a training method makes of the model's predictions, and what its loss is a mean over."""

from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine import loss
from tunesmith.engine.examples import Pair
from tunesmith.engine.lora import Route
from tunesmith.engine.loss import Predicted, Totals
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.passes import Answer, Wanted


class Objective(Protocol):
    def num_terms(self, batch: PackedBatch) -> int:
        """How many terms the batch's loss is a sum of; a step's loss is the mean over all."""

    def prepared(self, batch: PackedBatch) -> Generator[Wanted, Answer, None]:
        """Find out what must be known of a batch before its loss can be computed."""

    def summed(self, predicted: Predicted, batch: PackedBatch) -> tuple[Tensor, Totals]:
        """The loss, summed over the batch and differentiable."""


class Imitation:
    """Supervised fine-tuning: cross-entropy, a mean over tokens."""

    def num_terms(self, batch: PackedBatch) -> int:
        return len(batch.targets)

    def prepared(self, batch: PackedBatch) -> Generator[Wanted, Answer, None]:
        yield from ()

    def summed(self, predicted: Predicted, batch: PackedBatch) -> tuple[Tensor, Totals]:
        return loss.cross_entropy(predicted)


class Preference:
    """DPO: a mean over pairs. The reference is the model where the run started.

    What it says of a pair is computed when the pair is first met, with the very batch that the
    pair is in, and kept: one forward for each pair however many epochs there are, and none before
    the first step.
    """

    def __init__(
        self,
        beta: float,
        reference: Route | None,
        weights: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`reference` None is the base alone, as it is within the context of `weights`."""
        self._beta = beta
        self._reference = reference
        self._weights = weights

    def num_terms(self, batch: PackedBatch) -> int:
        return len(batch.rows)

    def prepared(self, batch: PackedBatch) -> Generator[Wanted, Answer, None]:
        pairs = _pairs(batch)
        if all(pair.reference is not None for pair in pairs):
            return
        answer = yield Wanted(batch=batch, route=self._reference, weights=self._weights)
        logprobs = loss.answer_logprobs(answer.predicted, batch).tolist()
        for pair, (chosen, rejected) in zip(pairs, logprobs, strict=True):
            pair.reference = pair.reference or (chosen, rejected)

    def summed(self, predicted: Predicted, batch: PackedBatch) -> tuple[Tensor, Totals]:
        known = [pair.reference for pair in _pairs(batch)]
        reference = torch.tensor(known, device=predicted.logprobs.device)
        return loss.preference(predicted, batch, reference, self._beta)


def _pairs(batch: PackedBatch) -> list[Pair]:
    return [row for row in batch.rows if isinstance(row, Pair)]
