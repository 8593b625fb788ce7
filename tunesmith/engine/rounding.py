"""Batches of round sizes, so that steps meet few shapes.

A CPU's library makes code for every shape of a matrix product that it meets: with oneDNN 1.5 ms
and half a megabyte each, for some hundred products a step. What is added here is nobody's
neighbour in attention and no loss reads it, so its gradient is zero.
"""

from dataclasses import replace
from itertools import islice

from tunesmith.engine.packing import PackedBatch

# A size is rounded up to a multiple of at least so much, and at most of this share of itself.
_TOKENS_STEP, _TOKENS_SHARE = 64, 1 / 16
_ROWS_STEP, _ROWS_SHARE = 16, 1 / 8


def rounded(batch: PackedBatch) -> PackedBatch:
    """The batch with padding behind its segments, and with rows of logits that are no target's."""
    if batch.is_separate:
        return batch
    num_tokens = _up(len(batch.token_ids), _TOKENS_STEP, _TOKENS_SHARE)
    num_rows = _up(len(batch.logit_positions), _ROWS_STEP, _ROWS_SHARE)
    padding = [0] * (num_tokens - len(batch.token_ids))
    taken = set(batch.logit_positions)
    free = (position for position in reversed(range(num_tokens)) if position not in taken)
    return replace(
        batch,
        token_ids=batch.token_ids + padding,
        position_ids=batch.position_ids + padding,
        logit_positions=[*batch.logit_positions, *islice(free, num_rows - len(taken))],
    )


def _up(size: int, step: int, share: float) -> int:
    """To a multiple of the step, twice the step, four times it, …"""
    while 2 * step <= size * share:
        step *= 2
    return -(-size // step) * step
