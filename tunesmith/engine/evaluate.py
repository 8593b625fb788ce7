"""The loss of a run's adapter on examples that it does not learn from."""

from collections.abc import Generator
from dataclasses import dataclass

import torch

from tunesmith.engine import forward
from tunesmith.engine.chat import Example
from tunesmith.engine.events import Evaluating
from tunesmith.engine.loss import summed_loss
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.run import Run


@dataclass(frozen=True, slots=True)
class Evaluation:
    loss: float  # mean cross-entropy over the supervised tokens
    token_accuracy: float


def evaluate(run: Run, examples: list[Example]) -> Generator[Evaluating, None, Evaluation]:
    """Yields between batches, so that others get the device; returns the figures."""
    batches = run.evaluation_batches(examples)
    loss = correct = num_targets = 0.0
    for done, batch in enumerate(batches):
        if done:
            yield Evaluating(step=run.step, num_batches_done=done, num_batches=len(batches))
        with (
            torch.no_grad(),
            out_of_memory_named(),
            run.model.adapters.routed([run.answering_route]),
        ):
            summed = summed_loss(forward.logits(run.model, batch), batch)
        loss += float(summed.loss)
        correct += float(summed.num_correct)
        num_targets += len(batch.targets)
    return Evaluation(loss / num_targets, correct / num_targets)
