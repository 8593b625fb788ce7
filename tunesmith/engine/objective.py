"""What a method asks of the model: the loss of a batch, and what that is a mean over."""

from typing import Protocol

import torch
from torch import Tensor

from tunesmith.engine import forward, loss
from tunesmith.engine.examples import Pair
from tunesmith.engine.lora import Route
from tunesmith.engine.loss import Predicted, Totals
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch


class Objective(Protocol):
    def num_terms(self, batch: PackedBatch) -> int:
        """How many terms the batch's loss is a sum of; a step's loss is the mean over all."""

    def summed(self, model: BaseModel, batch: PackedBatch, route: Route) -> tuple[Tensor, Totals]:
        """The loss, summed and differentiable, of the adapter that `route` leads through."""


class Imitation:
    """Supervised fine-tuning: cross-entropy, a mean over tokens."""

    def num_terms(self, batch: PackedBatch) -> int:
        return len(batch.targets)

    def summed(self, model: BaseModel, batch: PackedBatch, route: Route) -> tuple[Tensor, Totals]:
        return loss.cross_entropy(predicted(model, batch, [route]))


class Preference:
    """DPO: a mean over pairs. The reference is the model where the run started.

    What it says of a pair is computed when the pair is first met, with the very batch that the
    pair is in, and kept: one forward for each pair however many epochs there are, and none before
    the first step.
    """

    def __init__(self, beta: float, reference: list[Route]) -> None:
        self._beta = beta
        self._reference_routes = reference

    def num_terms(self, batch: PackedBatch) -> int:
        return len(batch.rows)

    def summed(self, model: BaseModel, batch: PackedBatch, route: Route) -> tuple[Tensor, Totals]:
        reference = self._reference(model, batch)
        return loss.preference(predicted(model, batch, [route]), batch, reference, self._beta)

    def _reference(self, model: BaseModel, batch: PackedBatch) -> Tensor:
        """(pairs, 2)"""
        pairs = [row for row in batch.rows if isinstance(row, Pair)]
        if any(pair.reference is None for pair in pairs):
            with torch.no_grad():
                said = predicted(model, batch, self._reference_routes)
                logprobs = loss.answer_logprobs(said, batch)
            for pair, (chosen, rejected) in zip(pairs, logprobs.tolist(), strict=True):
                pair.reference = pair.reference or (chosen, rejected)
        return torch.tensor([pair.reference for pair in pairs], device=model.device)


def predicted(model: BaseModel, batch: PackedBatch, routes: list[Route]) -> Predicted:
    """With no routes: by the base alone."""
    with model.adapters.routed(routes):
        return forward.predicted(model, batch)
