"""What a model predicts of a packed batch, and which models can take one."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine import attention, last_layer
from tunesmith.engine.examples import Example
from tunesmith.engine.head import target_logprobs
from tunesmith.engine.lean_layers import lean
from tunesmith.engine.loss import Predicted
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch, pack, pack_singly

# What is done to logits after the last linear layer, in the words of transformers' configurations.
_BEHIND_THE_HEAD = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "lm_head_multiplier",
)


def predicted(model: BaseModel, batch: PackedBatch) -> Predicted:
    """What the model says of the batch's targets, through the adapters that are routed."""
    if not model.shortcuts.fused_head:
        return Predicted.by(logits(model, batch), batch)
    hidden = _of_batch(model, batch, _hidden)
    head = model.network.get_output_embeddings()
    target_rows = torch.tensor(batch.target_rows, device=model.device)
    targets = torch.tensor(batch.targets, device=model.device)
    return Predicted(*target_logprobs(hidden, head.weight, head.bias, target_rows, targets))


def logits(model: BaseModel, batch: PackedBatch) -> Tensor:
    """The logits at the batch's `logit_positions`, (rows, vocabulary)."""
    return _of_batch(model, batch, _logits)


def _of_batch(model: BaseModel, batch: PackedBatch, compute: Callable[..., Tensor]) -> Tensor:
    """The rows of `_hidden` or `_logits` at the batch's `logit_positions`."""
    if batch.is_separate:
        parts = []
        for segment in batch.segments:
            start, end = segment.start, segment.end
            positions = [p - start for p in batch.logit_positions if start <= p < end]
            parts.append(compute(model, positions, input_ids=batch.token_ids[start:end]))
        return torch.cat(parts)
    with ExitStack() as stack:
        is_tiled = model.shortcuts.tiled_attention and model.device.type == "cpu"
        table = stack.enter_context(attention.over_segments(batch.segments, is_tiled=is_tiled))
        if model.shortcuts.lean_layers:
            stack.enter_context(lean(model.network.get_decoder()))
        if model.shortcuts.narrow_last_layer:
            stack.enter_context(last_layer.narrowed(model, batch.logit_positions, table))
        return compute(
            model,
            batch.logit_positions,
            input_ids=batch.token_ids,
            position_ids=batch.position_ids,
        )


def _hidden(model: BaseModel, positions: list[int], **inputs: list[int]) -> Tensor:
    """What goes into the output head, (positions, size)."""
    decoder = model.network.get_decoder()
    hidden: Tensor = decoder(**_tensors(model, inputs), use_cache=False).last_hidden_state[0]
    return hidden[torch.tensor(positions, device=model.device)]


def _logits(model: BaseModel, positions: list[int], **inputs: list[int]) -> Tensor:
    """(positions, vocabulary)"""
    kept = torch.tensor(positions, device=model.device)
    tensors = _tensors(model, inputs)
    if model.shortcuts.supervised_rows and model.takes("logits_to_keep"):
        output: Tensor = model.network(**tensors, logits_to_keep=kept, use_cache=False).logits[0]
        return output
    output = model.network(**tensors, use_cache=False).logits[0]
    return output[kept]


def _tensors(model: BaseModel, inputs: dict[str, list[int]]) -> dict[str, Any]:
    return {name: torch.tensor([row], device=model.device) for name, row in inputs.items()}


def packing_obstacle(model: BaseModel, max_length_tokens: int) -> str | None:
    """Why several examples cannot share one forward of this model, as a sentence; or None.

    The model's shortcuts are from now on those that hold for it.
    """
    if not _has_plain_head(model):
        model.shortcuts = replace(model.shortcuts, fused_head=False)
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
    if not _keep_what_holds(model):
        return "The model answers differently when examples are packed."
    return None


def _keep_what_holds(model: BaseModel) -> bool:
    """Found out once: the first step of later runs does not wait for it."""
    wanted = model.shortcuts
    if wanted not in model.trials:
        takes_packs = _try_packing(model)
        model.trials[wanted] = model.trials[model.shortcuts] = (model.shortcuts, takes_packs)
    model.shortcuts, takes_packs = model.trials[wanted]
    return takes_packs


def _try_packing(model: BaseModel) -> bool:
    """Try packing on a few tokens: some models derive positions or masks in ways of their own.

    First with all shortcuts, then with fewer; False where packing itself changes the answers.
    """
    wanted = model.shortcuts
    alone, packed = _trial_batches(model)
    model.shortcuts = replace(wanted, fused_head=False)
    expected = torch.cat([_trial_logprobs(model, batch) for batch in alone])
    for shortcuts in (
        wanted,
        replace(wanted, fused_head=False),
        replace(wanted, narrow_last_layer=False),
        replace(wanted, lean_layers=False),
        replace(wanted, fused_head=False, narrow_last_layer=False, lean_layers=False),
    ):
        model.shortcuts = shortcuts
        try:
            difference = (_trial_logprobs(model, packed) - expected).norm() / expected.norm()
        except (AttributeError, TypeError, RuntimeError):  # layers of another make
            continue
        if difference < model.tolerance:
            return True
    return False


def _has_plain_head(model: BaseModel) -> bool:
    head = model.network.get_output_embeddings()
    is_frozen_linear = isinstance(head, nn.Linear) and not head.weight.requires_grad
    return is_frozen_linear and all(
        getattr(model.config, key, None) in (None, 1, 1.0) for key in _BEHIND_THE_HEAD
    )


def _trial_batches(model: BaseModel) -> tuple[list[PackedBatch], PackedBatch]:
    vocabulary = model.config.vocab_size
    head = [(7 * i + 3) % vocabulary for i in range(40)]
    tails = [[(5 * i + 11 * k) % vocabulary for i in range(6)] for k in range(3)]
    rows = [head + tail for tail in tails] + [(head + tails[0])[::-1]]
    examples = [Example(row, [False] * 40 + [True] * (len(row) - 40)) for row in rows]
    [packed] = pack(examples, 1000)
    in_order = [row for row in packed.rows if isinstance(row, Example)]
    return pack_singly(in_order), packed


@torch.no_grad()
def _trial_logprobs(model: BaseModel, batch: PackedBatch) -> Tensor:
    return predicted(model, batch).logprobs
