"""One optimizer step of a run: forward and backward over its micro-batches, then the update."""

import math
from collections.abc import Sequence

from tunesmith.engine import optim
from tunesmith.engine.errors import Diverged
from tunesmith.engine.loss import Figures, Totals
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.run import Run

_ADVICE = "try a lower learning rate."


def forward_backward(run: Run, micro_batches: Sequence[PackedBatch]) -> Figures:
    """Add the gradient of the mean loss over all micro-batches to the adapter's.

    Each micro-batch's summed loss is divided by the terms of them all, so that accumulating
    equals one large batch. Raises Diverged and OutOfMemory.
    """
    num_terms = sum(run.objective.num_terms(batch) for batch in micro_batches)
    totals = Totals()
    with out_of_memory_named():
        for batch in micro_batches:
            loss, of_batch = run.objective.summed(run.model, batch, run.training_route)
            (loss / num_terms).backward()  # type: ignore[no-untyped-call]
            totals += of_batch
    if not math.isfinite(totals.loss):
        raise Diverged(f"The loss of step {run.step + 1} is not finite; {_ADVICE}")
    return totals.means()


def optim_step(run: Run) -> tuple[float, float]:
    """Clip, update, forget the gradient; returns the learning rate and the norm before clipping.

    Raises Diverged before a gradient that is no number could spoil the weights.
    """
    gradient = run.adapter.flat.grad
    assert gradient is not None  # a run's adapter is made with one
    grad_norm = optim.clip_gradient(gradient, run.spec.max_grad_norm)
    if not math.isfinite(grad_norm):
        raise Diverged(f"The gradient of step {run.step + 1} is not finite; {_ADVICE}")
    learning_rate = run.learning_rate(run.step + 1)
    run.optimizer.param_groups[0]["lr"] = learning_rate
    run.optimizer.step()
    gradient.zero_()
    run.step += 1
    return learning_rate, grad_norm
