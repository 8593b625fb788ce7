"""Packed batches of several runs as one stream, and what the model says of each apart again."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import torch

from tunesmith.engine.lora import Route
from tunesmith.engine.loss import Predicted
from tunesmith.engine.packing import PackedBatch, Segment


def joined(batches: Sequence[PackedBatch]) -> PackedBatch:
    """The batches one behind the other; of one, that very batch. None may be separate."""
    if len(batches) == 1:
        return batches[0]
    stream = PackedBatch([], [], [], [], [], [], [], [], is_separate=False)
    for batch in batches:
        assert not batch.is_separate
        offset, first_row = len(stream.token_ids), len(stream.logit_positions)
        stream.token_ids.extend(batch.token_ids)
        stream.position_ids.extend(batch.position_ids)
        stream.segments.extend(_moved(batch.segments, offset))
        stream.logit_positions.extend(offset + position for position in batch.logit_positions)
        stream.target_rows.extend(first_row + row for row in batch.target_rows)
        stream.targets.extend(batch.targets)
        stream.num_targets.extend(batch.num_targets)
        stream.rows.extend(batch.rows)
    return stream


def _moved(segments: Sequence[Segment], offset: int) -> list[Segment]:
    """A segment stands behind its prefix, so the prefix has been moved before it."""
    moved: dict[Segment, Segment] = {}
    for segment in segments:
        prefix = None if segment.prefix is None else moved[segment.prefix]
        moved[segment] = Segment(segment.start + offset, segment.end + offset, prefix)
    return list(moved.values())


def joined_routes(batches: Sequence[PackedBatch], routes: Sequence[Route | None]) -> list[Route]:
    """Each batch's route (None: the bare base), led to where the batch stands in the stream."""
    if any(batch.is_separate for batch in batches):  # a batch alone, each segment in its forward
        return [route for route in routes if route is not None]
    ends = list(accumulate(len(batch.token_ids) for batch in batches))
    return [
        replace(route, tokens=slice(end - len(batch.token_ids), end))
        for batch, route, end in zip(batches, routes, ends, strict=True)
        if route is not None
    ]


def split(predicted: Predicted, batches: Sequence[PackedBatch]) -> list[Predicted]:
    """What is said of each batch's targets."""
    counts = [len(batch.targets) for batch in batches]
    parts = zip(
        torch.split(predicted.logprobs, counts),
        torch.split(predicted.is_correct, counts),
        strict=True,
    )
    return [Predicted(logprobs, is_correct) for logprobs, is_correct in parts]
