"""The logits of a packed batch, and which models can take one."""

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine import attention
from tunesmith.engine.examples import Example
from tunesmith.engine.loss import Predicted
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch, Segment, pack, pack_singly


def predicted(model: BaseModel, batch: PackedBatch) -> Predicted:
    """What the model says of the batch's targets."""
    return Predicted.by(logits(model, batch), batch)


def logits(model: BaseModel, batch: PackedBatch) -> Tensor:
    """The logits at the batch's `logit_positions`, (rows, vocabulary)."""
    if len(batch.segments) == 1:
        return _at(model, batch.token_ids, batch.logit_positions)
    if batch.is_separate:
        return torch.cat([_alone(model, batch, segment) for segment in batch.segments])
    with attention.over_segments(batch.segments):
        return _at(model, batch.token_ids, batch.logit_positions, position_ids=batch.position_ids)


def _alone(model: BaseModel, batch: PackedBatch, segment: Segment) -> Tensor:
    """A segment without a prefix, by plain causal attention."""
    start, end = segment.start, segment.end
    positions = [p - start for p in batch.logit_positions if start <= p < end]
    return _at(model, batch.token_ids[start:end], positions)


def _at(
    model: BaseModel,
    token_ids: list[int],
    positions: list[int],
    **more: list[int],
) -> Tensor:
    device = model.device
    inputs: dict[str, Any] = {
        name: torch.tensor([values], device=device)
        for name, values in {"input_ids": token_ids, **more}.items()
    }
    kept = torch.tensor(positions, device=device)
    if model.takes("logits_to_keep"):
        inputs["logits_to_keep"] = kept
    output: Tensor = model.network(**inputs, use_cache=False).logits[0]
    return output if model.takes("logits_to_keep") else output[kept]


def packing_obstacle(model: BaseModel, max_length_tokens: int) -> str | None:
    """Why several examples cannot share one forward of this model, as a sentence; or None."""
    if not model.has_positional_cache:
        kinds = ", ".join(sorted(model.layer_types))
        return f"The model has layers that are not plain attention ({kinds})."
    for key in ("sliding_window", "attention_chunk_size"):
        window = getattr(model.config, key, None)
        uses_window = model.layer_types != {"full_attention"}
        if uses_window and isinstance(window, int) and window < max_length_tokens:
            return f"The model's attention reaches back {window} tokens only."
    if not model.takes("position_ids"):
        return "The model does not take explicit positions."
    if not _packs_exactly(model):
        return "The model answers differently when examples are packed."
    return None


@torch.no_grad()
def _packs_exactly(model: BaseModel) -> bool:
    """Try it on a few tokens: some models derive positions or masks in ways of their own."""
    vocabulary = model.config.vocab_size
    head = [(7 * i + 3) % vocabulary for i in range(40)]
    tails = [[(5 * i + 11 * k) % vocabulary for i in range(6)] for k in range(3)]
    rows = [head + tail for tail in tails] + [(head + tails[0])[::-1]]
    examples = [Example(row, [False] * 40 + [True] * (len(row) - 40)) for row in rows]
    examples.sort(key=lambda example: example.token_ids)
    [packed] = pack(examples, 1000)
    packed_logits = logits(model, packed).float()[packed.target_rows]
    alone = [logits(model, single).float()[single.target_rows] for single in pack_singly(examples)]
    difference = (packed_logits - torch.cat(alone)).norm() / torch.cat(alone).norm()
    return bool(difference < model.tolerance)
