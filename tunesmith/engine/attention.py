"""Attention over a packed batch, segment by segment; for all else it is transformers' SDPA.

It goes into every model through transformers' attention interface; the segments come beside the
call, as not all models hand unknown arguments down to their attention.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from tunesmith.engine.packing import Segment

NAME = "tunesmith_segments"


class SegmentTable:
    """What the layers of one forward share."""

    def __init__(self, segments: Sequence[Segment]) -> None:
        numbers = {segment: number for number, segment in enumerate(segments)}
        self.lengths = [segment.end - segment.start for segment in segments]
        self.prefixes = [[numbers[p] for p in _prefixes(s)] for s in segments]
        self._masks: dict[tuple[int, int], Tensor] = {}

    def mask(self, num_prefix: int, num_own: int, like: Tensor) -> Tensor:
        """(own, prefix + own), added to the scores: all of the prefix, then causal."""
        key = (num_prefix, num_own)
        if key not in self._masks:
            hidden = torch.full((num_own, num_prefix + num_own), float("-inf"), device=like.device)
            self._masks[key] = hidden.triu(num_prefix + 1).to(like.dtype)
        return self._masks[key]


def _prefixes(segment: Segment) -> list[Segment]:
    """All that a segment continues, the outermost first."""
    if segment.prefix is None:
        return []
    return [*_prefixes(segment.prefix), segment.prefix]


_table: ContextVar[SegmentTable | None] = ContextVar("segment table", default=None)


class Attend(Protocol):
    """Attention of one's own over a forward's one row; `window` 0 reaches back to the start."""

    def __call__(
        self,
        module: Any,
        query: Tensor,  # (1, heads, tokens, size)
        key: Tensor,
        value: Tensor,
        *,
        scale: float | None,
        window: int,
    ) -> Tensor:
        """(1, tokens, heads, size)"""


_own: ContextVar[Attend | None] = ContextVar("attention of one's own", default=None)


@contextmanager
def by(attend: Attend) -> Iterator[None]:
    """Within this context a forward attends by this function alone."""
    token = _own.set(attend)
    try:
        yield
    finally:
        _own.reset(token)


@contextmanager
def over_segments(segments: Sequence[Segment]) -> Iterator[None]:
    """Within this context a forward's one row is a stream of these segments."""
    token = _table.set(SegmentTable(segments))
    try:
        yield
    finally:
        _table.reset(token)


def _attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    own = _own.get()
    if own is not None:
        window = others.get("sliding_window") or 0
        return own(module, query, key, value, scale=scaling, window=window), None
    table = _table.get()
    if table is None:
        output, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **others
        )
        return output, None
    num_repeats = query.shape[1] // key.shape[1]
    queries = torch.split(query, table.lengths, dim=2)  # (1, heads, own, head size) each
    keys = torch.split(repeat_kv(key, num_repeats), table.lengths, dim=2)
    values = torch.split(repeat_kv(value, num_repeats), table.lengths, dim=2)
    outputs = []
    for number, prefixes in enumerate(table.prefixes):
        q, k, v = queries[number], keys[number], values[number]
        if not prefixes:
            part = scaled_dot_product_attention(q, k, v, is_causal=True, scale=scaling)
        else:
            num_prefix = sum(table.lengths[prefix] for prefix in prefixes)
            mask = table.mask(num_prefix, table.lengths[number], q)
            k = torch.cat([*(keys[prefix] for prefix in prefixes), k], dim=2)
            v = torch.cat([*(values[prefix] for prefix in prefixes), v], dim=2)
            part = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
        outputs.append(part)
    return torch.cat(outputs, dim=2).transpose(1, 2).contiguous(), None


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    is_ours = _table.get() is not None or _own.get() is not None
    return None if is_ours else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, _mask)
