"""One optimizer step of a run: forward and backward over its micro-batches, then the update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.engine import forward, optim
from tunesmith.engine.errors import Diverged
from tunesmith.engine.loss import summed_loss
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.run import Run

_ADVICE = "try a lower learning rate."


@dataclass(frozen=True, slots=True)
class StepLoss:
    loss: float  # mean over the supervised targets of all micro-batches
    token_accuracy: float


def forward_backward(run: Run, micro_batches: Sequence[PackedBatch]) -> StepLoss:
    """Add the gradient of the mean loss over all targets to the adapter's.

    Each micro-batch's summed loss is divided by the targets of them all, so that accumulating
    equals one large batch. Raises Diverged and OutOfMemory.
    """
    num_targets = sum(len(batch.targets) for batch in micro_batches)
    loss = correct = 0.0
    with out_of_memory_named(), run.model.adapters.routed([run.training_route]):
        for batch in micro_batches:
            summed = summed_loss(forward.logits(run.model, batch), batch)
            (summed.loss / num_targets).backward()  # type: ignore[no-untyped-call]
            loss += float(summed.loss.detach())
            correct += float(summed.num_correct)
    if not math.isfinite(loss):
        raise Diverged(f"The loss of step {run.step + 1} is not finite; {_ADVICE}")
    return StepLoss(loss / num_targets, correct / num_targets)


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
