"""The output head where it is a plain linear layer: log-probabilities without keeping logits."""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_CHUNK_LOGITS = 16 << 20  # of as many rows at a time as have that many
_BLOCK_LOGITS = 1 << 19  # of these as many are held in fp32: they stay in a processor's cache


def target_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target_rows: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Of token `targets[i]` behind `hidden[target_rows[i]]`, and whether it is the most likely.

    `hidden` is (rows, size), `weight` (vocabulary, size) and frozen. Each row is some target's.
    """
    logprobs, is_correct = _TargetLogprobs.apply(hidden, weight, bias, target_rows, targets)  # type: ignore[no-untyped-call]
    return logprobs, is_correct


class _TargetLogprobs(torch.autograd.Function):
    """The gradient of a log-probability with respect to the logits is one-hot minus softmax.

    Its product with the weight is formed here, chunk by chunk, while the logits are at hand. In
    the backward it only needs to be scaled, as long as a row has one target; each further target
    of a row adds the difference of two rows of the weight.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target_rows: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Tensor]:
        needs_gradient = ctx.needs_input_grad[0]
        first_targets = targets.new_zeros(len(hidden)).index_copy_(0, target_rows, targets)
        gradients = torch.empty_like(hidden) if needs_gradient else None
        order = torch.argsort(target_rows)
        logprobs = torch.empty(len(targets), device=hidden.device)
        is_correct = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        num_rows = max(1, _CHUNK_LOGITS // len(weight))
        sorted_rows = target_rows[order]
        for start in range(0, len(hidden), num_rows):
            end = min(start + num_rows, len(hidden))
            logits = linear(hidden[start:end], weight, bias)
            bounds = torch.searchsorted(sorted_rows, sorted_rows.new_tensor([start, end]))
            chosen = order[bounds[0] : bounds[1]]
            rows, tokens = target_rows[chosen] - start, targets[chosen]
            highest = logits.amax(-1)
            is_correct[chosen] = _is_first_highest(logits, highest, rows, tokens)
            of_targets = logits[rows, tokens].float()
            firsts = (torch.arange(end - start, device=hidden.device), first_targets[start:end])
            of_firsts = logits[firsts].float()
            log_totals = _softmax_in_place(logits, highest)
            logprobs[chosen] = of_targets - log_totals[rows]
            if gradients is not None:
                logits[firsts] = torch.expm1(of_firsts - log_totals).to(logits.dtype)
                torch.mm(logits, weight, out=gradients[start:end])
        ctx.mark_non_differentiable(is_correct)
        ctx.save_for_backward(gradients, weight, target_rows, targets, first_targets)
        return logprobs, is_correct

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        gradients, weight, target_rows, targets, first_targets = ctx.saved_tensors
        by_target = upstream[0]
        by_row = by_target.new_zeros(len(gradients)).index_add_(0, target_rows, by_target)
        total = gradients * -by_row[:, None]  # in fp32
        firsts = first_targets[target_rows]
        [others] = torch.nonzero(targets != firsts, as_tuple=True)
        if len(others):
            difference = weight[targets[others]].float() - weight[firsts[others]].float()
            total.index_add_(0, target_rows[others], difference * by_target[others, None])
        return total.to(gradients.dtype), None, None, None, None


def _softmax_in_place(logits: Tensor, highest: Tensor) -> Tensor:
    """Computed in fp32; returns the logarithm of each row's sum of exponentials."""
    log_totals = highest.float()
    num_rows = max(1, _BLOCK_LOGITS // logits.shape[-1])
    for start in range(0, len(logits), num_rows):
        block = slice(start, start + num_rows)
        probabilities = torch.softmax(logits[block].float(), dim=-1)
        log_totals[block] -= probabilities.amax(-1).log()
        logits[block] = probabilities
    return log_totals


def _is_first_highest(logits: Tensor, highest: Tensor, rows: Tensor, tokens: Tensor) -> Tensor:
    """What argmax says, which itself is slow on a CPU: bf16 logits often tie."""
    is_correct = logits[rows, tokens] == highest[rows]
    [hits] = torch.nonzero(is_correct, as_tuple=True)
    is_highest = logits[rows[hits]] == highest[rows[hits], None]
    is_before = torch.arange(logits.shape[-1], device=logits.device) < tokens[hits, None]
    is_correct[hits] = ~(is_highest & is_before).any(-1)
    return is_correct
