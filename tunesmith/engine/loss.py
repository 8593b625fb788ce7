"""Cross-entropy over the supervised targets of a packed batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from tunesmith.engine.packing import PackedBatch


@dataclass(frozen=True, slots=True)
class SummedLoss:
    """Sums over a batch's targets, so that batches of any size can be added up exactly."""

    loss: Tensor  # differentiable, in nats
    num_correct: Tensor


def summed_loss(logits: Tensor, batch: PackedBatch) -> SummedLoss:
    """`logits` are those of the batch's `logit_positions`; several targets may share a row."""
    rows = torch.tensor(batch.target_rows, device=logits.device)
    targets = torch.tensor(batch.targets, device=logits.device)
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    with torch.no_grad():
        num_correct = (log_probabilities.argmax(-1)[rows] == targets).sum()
    return SummedLoss(-log_probabilities[rows, targets].sum(), num_correct)
