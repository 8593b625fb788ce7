"""One optimizer step of a run: the gradient over its micro-batches, then the update."""

import math
from collections.abc import Generator, Sequence

from torch import Tensor

from tunesmith.engine import optim
from tunesmith.engine.errors import Diverged
from tunesmith.engine.events import Healed
from tunesmith.engine.healing import fitting
from tunesmith.engine.loss import Figures, Predicted, Totals
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.passes import Answer, Wanted
from tunesmith.engine.run import Run


def forward_backward(
    run: Run, micro_batches: Sequence[PackedBatch]
) -> Generator[Wanted | Healed, Answer, Figures]:
    """Add the gradient of the mean loss over all micro-batches to the run's.

    Each micro-batch's summed loss is divided by the terms of them all, so that accumulating
    equals one large batch. A micro-batch that does not fit into memory is made of smaller ones.
    Raises Diverged, and OutOfMemory.
    """
    num_terms = sum(run.objective.num_terms(batch) for batch in micro_batches)
    totals = Totals()

    def learn(batch: PackedBatch) -> Generator[Wanted, Answer, Totals]:
        return _learned_from(run, batch, num_terms)

    for batch in micro_batches:
        totals += yield from fitting(run, batch, learn, run.micro_batches)
    if not math.isfinite(totals.loss):
        raise Diverged(f"The loss of step {run.step + 1} is not finite.")
    return totals.means()


def _learned_from(
    run: Run, batch: PackedBatch, num_terms: int
) -> Generator[Wanted, Answer, Totals]:
    yield from run.objective.prepared(batch)

    def share_of_mean(predicted: Predicted) -> Tensor:
        return run.objective.summed(predicted, batch)[0] / num_terms

    # OutOfMemory is raised here only where nothing else is in the pass.
    answer = yield Wanted(batch=batch, route=run.training_route, loss=share_of_mean)
    run.seconds += answer.seconds
    return run.objective.summed(answer.predicted, batch)[1]


def clip_gradient(run: Run) -> float:
    """Returns the norm before clipping; raises Diverged where it is no number."""
    grad_norm = optim.clip_gradient(_gradient(run), run.spec.max_grad_norm)
    if not math.isfinite(grad_norm):
        raise Diverged(f"The gradient of step {run.step + 1} is not finite.")
    return grad_norm


def optim_step(run: Run) -> float:
    """Update, and forget the gradient; returns the learning rate."""
    learning_rate = run.learning_rate(run.step + 1)
    run.optimizer.param_groups[0]["lr"] = learning_rate
    run.optimizer.step()
    run.trained.round()
    _gradient(run).zero_()
    run.step += 1
    return learning_rate


def _gradient(run: Run) -> Tensor:
    gradient = run.trained.flat.grad
    assert gradient is not None  # what a run trains is made with one
    return gradient
