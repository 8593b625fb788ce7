"""The output head where it is a plain linear layer: log-probabilities without keeping logits.

Logits are there for a block at a time, some rows by a part of the vocabulary, and in the backward
nothing is computed again (compare Wijmans et al. 2024, arXiv 2411.09009).
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear

_CHUNK_ROWS = 1024
_BLOCK_LOGITS = 1 << 20  # on a CPU: few enough to stay in a processor's cache
_DEVICE_BLOCK_LOGITS = 1 << 24  # elsewhere: fewer, larger operations
_NEVER = torch.finfo(torch.float32).min  # a logit; not infinite, so that differences are numbers


def target_logprobs(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, target_rows: Tensor, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Of token `targets[i]` behind `hidden[target_rows[i]]`, and whether it is the most likely.

    `hidden` is (rows, size), `weight` (vocabulary, size) and frozen. A row may be no target's.
    """
    logprobs, is_correct = _TargetLogprobs.apply(hidden, weight, bias, target_rows, targets)  # type: ignore[no-untyped-call]
    return logprobs, is_correct


class _TargetLogprobs(torch.autograd.Function):
    """The gradient of a log-probability with respect to the hidden state is the target's row of
    the weight minus the mean of all rows, each as likely as its token.

    It is formed here, while the probabilities are at hand. In the backward it only needs to be
    scaled, as long as a row has one target; each further target of a row adds the difference of
    two rows of the weight.
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
        logprobs = torch.empty(len(targets), device=hidden.device)
        is_correct = torch.empty(len(targets), dtype=torch.bool, device=hidden.device)
        for part in _parts(len(hidden), _CHUNK_ROWS):
            chosen = _within(part, target_rows)
            rows = target_rows[chosen] - part.start
            chunk = _Chunk(hidden[part], rows, targets[chosen], first_targets[part])
            chunk.meet(weight, bias, needs_gradient)
            logprobs[chosen] = chunk.logprobs()
            is_correct[chosen] = chunk.is_correct()
            if gradients is not None:
                gradients[part] = chunk.gradients(weight)
        ctx.mark_non_differentiable(is_correct)
        ctx.save_for_backward(gradients, weight, target_rows, targets, first_targets)
        return logprobs, is_correct

    @staticmethod
    def backward(ctx: Any, *upstream: Any) -> Any:
        gradients, weight, target_rows, targets, first_targets = ctx.saved_tensors
        by_target = upstream[0]
        by_row = by_target.new_zeros(len(gradients)).index_add_(0, target_rows, by_target)
        total = gradients * by_row[:, None]  # in fp32
        firsts = first_targets[target_rows]
        [others] = torch.nonzero(targets != firsts, as_tuple=True)
        if len(others):
            difference = weight[targets[others]].float() - weight[firsts[others]].float()
            total.index_add_(0, target_rows[others], difference * by_target[others, None])
        return total.to(gradients.dtype), None, None, None, None


class _Chunk:
    """Some rows, and what is known of them after each block of the vocabulary.

    Each row's first target is set aside, and the other tokens are summed up: of a target that is
    nearly certain, one minus its probability would be lost beside it.
    """

    def __init__(self, hidden: Tensor, rows: Tensor, targets: Tensor, firsts: Tensor) -> None:
        """Target i is behind row `rows[i]`."""
        self._hidden = hidden
        self._rows, self._targets, self._firsts = rows, targets, firsts
        self._is_first = firsts[rows] == targets
        self._logits = torch.empty(len(targets), device=hidden.device)  # the targets'
        self._before = torch.empty_like(self._logits)  # the highest of the tokens before each
        self._highest = torch.full((len(hidden),), _NEVER, device=hidden.device)
        self._log_others = self._highest.clone()  # of the sum of the other tokens' exponentials
        self._mean = torch.zeros_like(hidden, dtype=torch.float32)  # others' rows of the weight

    def meet(self, weight: Tensor, bias: Tensor | None, needs_gradient: bool) -> None:
        """All of the vocabulary. Its size is mostly a multiple of a power of two, and a CPU's
        library makes code for each shape: so blocks are alike."""
        is_on_cpu = weight.device.type == "cpu"
        num_logits = _BLOCK_LOGITS if is_on_cpu else _DEVICE_BLOCK_LOGITS
        num_blocks = 1 << ((len(weight) * len(self._hidden) - 1) // num_logits).bit_length()
        for part in _parts(len(weight), -(-len(weight) // num_blocks)):
            bias_part = None if bias is None else bias[part]
            self._meet(part, weight[part], bias_part, needs_gradient)

    def _meet(self, part: slice, weight: Tensor, bias: Tensor | None, needs_gradient: bool) -> None:
        logits = linear(self._hidden, weight, bias).float()
        self._set_aside(part, logits)
        highest = logits.amax(-1)
        self._highest = torch.maximum(self._highest, highest)
        probabilities = torch.softmax(logits, dim=-1)  # among the block's
        log_block = highest - probabilities.amax(-1).log()
        log_before = self._log_others
        self._log_others = torch.logaddexp(log_before, log_block)
        if needs_gradient:
            mean = probabilities.to(weight.dtype) @ weight
            self._mean *= torch.exp(log_before - self._log_others)[:, None]
            self._mean.addcmul_(mean, torch.exp(log_block - self._log_others)[:, None])

    def _set_aside(self, part: slice, logits: Tensor) -> None:
        """What the targets need of a block's logits, in which the first ones are then no more."""
        mine = _within(part, self._targets)
        rows, tokens = self._rows[mine], self._targets[mine] - part.start
        of_mine = logits[rows, tokens]
        is_before = torch.arange(logits.shape[1], device=logits.device) < tokens[:, None]
        before = torch.where(is_before, logits[rows], _NEVER).amax(-1)
        self._logits[mine] = of_mine
        self._before[mine] = torch.maximum(before, self._highest[rows])
        self._highest.scatter_reduce_(0, rows, of_mine, "amax")
        is_first = self._is_first[mine]
        logits[rows[is_first], tokens[is_first]] = _NEVER

    def logprobs(self) -> Tensor:
        return self._logits - self._log_total()[self._rows]

    def is_correct(self) -> Tensor:
        """As argmax says: of equal logits, which are frequent in bf16, the first is the highest."""
        is_highest = self._logits == self._highest[self._rows]
        return is_highest & (self._logits > self._before)

    def gradients(self, weight: Tensor) -> Tensor:
        """Of the log-probabilities of the rows' first targets."""
        share = torch.exp(self._log_others - self._log_total())  # one minus the probability
        return (weight[self._firsts] - self._mean) * share[:, None]

    def _log_total(self) -> Tensor:
        of_firsts = torch.full_like(self._log_others, _NEVER)  # for rows that are no target's
        of_firsts[self._rows[self._is_first]] = self._logits[self._is_first]
        return torch.logaddexp(self._log_others, of_firsts)


def _parts(total: int, length: int) -> list[slice]:
    return [slice(start, min(start + length, total)) for start in range(0, total, length)]


def _within(part: slice, numbers: Tensor) -> Tensor:
    """Which of the numbers are."""
    [places] = torch.nonzero((numbers >= part.start) & (numbers < part.stop), as_tuple=True)
    return places
