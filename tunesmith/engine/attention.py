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

from tunesmith.engine import tiles
from tunesmith.engine.packing import Segment
from tunesmith.engine.tiling import Stretch, Tiling

NAME = "tunesmith_segments"


_MAX_SCORES = 1 << 20  # of a head: what is longer goes to the fused kernel, which keeps none


class SegmentTable:
    """What the layers of one forward share."""

    def __init__(self, segments: Sequence[Segment], *, is_tiled: bool) -> None:
        self.segments = segments
        self.short = [is_tiled and _is_short(segment) for segment in segments]
        self._masks: dict[tuple[int, int], Tensor] = {}
        self._tilings: dict[tuple[int, int], Tiling] = {}

    def tiling(self, num_tokens: int, heads: int, key_heads: int) -> Tiling:
        """Of the segments that are short."""
        key = (heads, key_heads)
        if key not in self._tilings:
            self._tilings[key] = Tiling.of(self._stretches, num_tokens, heads, key_heads)
        return self._tilings[key]

    def sparse_tiling(
        self, positions: Sequence[int], num_tokens: int, heads: int, key_heads: int
    ) -> Tiling:
        """The same, of these tokens' queries alone, in ascending order."""
        return Tiling.of_some(self._stretches, positions, num_tokens, heads, key_heads)

    @property
    def _stretches(self) -> list[Stretch]:
        return [
            Stretch(s.start, s.end, tuple((p.start, p.end) for p in _prefixes(s)))
            for s, is_short in zip(self.segments, self.short, strict=True)
            if is_short
        ]

    def mask(self, num_prefix: int, num_own: int, like: Tensor) -> Tensor:
        """(own, prefix + own), added to the scores: all of the prefix, then causal."""
        key = (num_prefix, num_own)
        if key not in self._masks:
            hidden = torch.full((num_own, num_prefix + num_own), float("-inf"), device=like.device)
            self._masks[key] = hidden.triu(num_prefix + 1).to(like.dtype)
        return self._masks[key]


def _is_short(segment: Segment) -> bool:
    own = segment.end - segment.start
    return own * sum(p.end - p.start for p in [*_prefixes(segment), segment]) <= _MAX_SCORES


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
def over_segments(segments: Sequence[Segment], *, is_tiled: bool) -> Iterator[SegmentTable]:
    """Within this context a forward's one row is a stream of these segments, and of padding.

    Where `is_tiled`, short ones are attended over in tiles.
    """
    table = SegmentTable(segments, is_tiled=is_tiled)
    token = _table.set(table)
    try:
        yield table
    finally:
        _table.reset(token)


def attend(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """As transformers' attention interface has it."""
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
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    tiled = None
    if any(table.short):
        tiling = table.tiling(query.shape[2], query.shape[1], key.shape[1])
        q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
        tiled = tiles.attend(q, k, v, tiling, scale)[None]
        if all(table.short):
            return tiled, None
    parts = []
    end = 0
    for segment, is_short in zip(table.segments, table.short, strict=True):
        parts.append(_padding(value, query.shape[1], segment.start - end))
        parts.append(
            tiled[:, segment.start : segment.end]
            if is_short and tiled is not None
            else _alone(query, key, value, segment, table, scale)
        )
        end = segment.end
    parts.append(_padding(value, query.shape[1], query.shape[2] - end))
    return torch.cat(parts, dim=1), None


def _padding(value: Tensor, heads: int, num_tokens: int) -> Tensor:
    return value.new_zeros(1, num_tokens, heads, value.shape[-1])


def _alone(
    query: Tensor, key: Tensor, value: Tensor, segment: Segment, table: SegmentTable, scale: float
) -> Tensor:
    """One segment by torch's fused kernel, (1, own, heads, size)."""
    num_repeats = query.shape[1] // key.shape[1]
    prefixes = _prefixes(segment)
    own = query[:, :, segment.start : segment.end]
    keys, values = (
        repeat_kv(
            torch.cat([x[:, :, p.start : p.end] for p in [*prefixes, segment]], 2), num_repeats
        )
        for x in (key, value)
    )
    num_own, num_prefix = own.shape[2], keys.shape[2] - own.shape[2]
    mask = table.mask(num_prefix, num_own, query) if prefixes else None
    output = scaled_dot_product_attention(
        own, keys, values, attn_mask=mask, is_causal=not prefixes, scale=scale
    )
    return output.transpose(1, 2)


def _mask(*args: Any, **kwargs: Any) -> Tensor | None:
    is_ours = _table.get() is not None or _own.get() is not None
    return None if is_ours else sdpa_mask(*args, **kwargs)


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, _mask)
