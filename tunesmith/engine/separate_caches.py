"""Rows that each keep a state of their own: for models with more than keys and values to remember.

Recurrent and hybrid models fold what they have read into a state, and some attend in a way of
their own. Their rows take turns; it is slower than one forward for all, and right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from tunesmith.engine.errors import OutOfMemory
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.row_cache import Piece


@dataclass(slots=True, eq=False)
class SeparateRow:
    length: int = 0
    state: Any = None


class SeparateCaches:
    """Stands in for `RowCache`."""

    reads_whole_prompts = True  # some states are only made from a prompt in one piece

    def open(self) -> SeparateRow:
        return SeparateRow()

    def close(self, row: SeparateRow) -> None:
        row.state = None

    @torch.no_grad()
    def forward(self, model: BaseModel, pieces: Sequence[Piece]) -> Tensor:
        """The logits that the pieces ask for, one below the other, (kept, vocabulary).

        Where the memory does not suffice for a row, its logits are no numbers: the others, which
        may have gone on already, are not held up by it.
        """
        return torch.cat([_forward(model, piece) for piece in pieces])


def _forward(model: BaseModel, piece: Piece) -> Tensor:
    num_tokens = len(piece.token_ids)
    num_kept = num_tokens if piece.keeps_all else 1
    name = "cache_params" if model.takes("cache_params") else "past_key_values"
    state = piece.row.state
    if state is None and name == "past_key_values":
        state = DynamicCache(config=model.config)
    token_ids = torch.tensor([list(piece.token_ids)], device=model.device)
    adapters = [(piece.adapter_id, num_tokens)]
    try:
        with out_of_memory_named(), model.adapters.mixed(adapters):
            output = model.network(input_ids=token_ids, use_cache=True, **{name: state})
    except OutOfMemory:
        return torch.full((num_kept, model.config.vocab_size), torch.nan, device=model.device)
    piece.row.state = getattr(output, name)
    piece.row.length += num_tokens
    logits: Tensor = output.logits[0, -num_kept:]
    return logits


def separation_obstacle(model: BaseModel) -> str | None:
    """Why this model cannot go on from a state of its own, as a sentence; or None. Tried out."""
    token_ids = [(7 * i + 3) % model.config.vocab_size for i in range(9)]
    caches = SeparateCaches()
    row = caches.open()
    try:
        for part in (token_ids[:7], token_ids[7:8], token_ids[8:]):
            stepwise = caches.forward(model, [Piece(row=row, token_ids=part)]).float()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return "The model does not take a cache."
    inputs = torch.tensor([token_ids], device=model.device)
    with torch.no_grad():
        alone = model.network(inputs, use_cache=False).logits[:, -1].float()
    is_same = (stepwise - alone).norm() / alone.norm() < model.tolerance
    return None if is_same else "The model answers differently when it goes on from its cache."
