"""Rows that each keep a cache of their own: for models with more than keys and values to remember.

Recurrent and hybrid models fold what they have read into a state, so rows cannot be padded to one
width. They take turns then; it is slower than one batch, and right.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from tunesmith.engine.errors import OutOfMemory
from tunesmith.engine.lora import rows_by_adapter
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel


class SeparateCaches:
    """Stands in for `KeyValueCache`; `padding[i]` columns on the left of row i are passed over."""

    takes_whole_prompts = True  # some states are only made from a prompt in one piece

    def __init__(self, padding: list[int]) -> None:
        self.padding = padding
        self.width = 0
        self._states: list[Any] = [None] * len(padding)

    @torch.no_grad()
    def forward(
        self, model: BaseModel, token_ids: Tensor, adapter_ids: Sequence[str | None]
    ) -> Tensor:
        """Append tokens (rows, new); returns the logits after the last, (rows, vocabulary).

        Where the memory does not suffice for a row, its logits are no numbers: the others, which
        may have gone on already, are not held up by it.
        """
        logits = [row[:, -1] for row in self._forward_rows(model, token_ids, adapter_ids)]
        return torch.cat(logits)

    @torch.no_grad()
    def score(
        self, model: BaseModel, token_ids: Tensor, adapter_ids: Sequence[str | None]
    ) -> Tensor:
        """The same; returns the logits after each, (rows, new, vocabulary); zero for padding."""
        logits = list(self._forward_rows(model, token_ids, adapter_ids))
        missing = [token_ids.shape[1] - row.shape[1] for row in logits]
        padded = zip(logits, missing, strict=True)
        return torch.cat([nn.functional.pad(row, (0, 0, count, 0)) for row, count in padded])

    def join(self, other: "SeparateCaches") -> None:
        """Put the other's rows below these."""
        width = max(self.width, other.width)
        self.padding = [count + width - self.width for count in self.padding]
        self.padding += [count + width - other.width for count in other.padding]
        self.width = width
        self._states += other._states

    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order."""
        self.padding = [self.padding[row] for row in rows]
        self._states = [self._states[row] for row in rows]

    def _forward_rows(
        self, model: BaseModel, token_ids: Tensor, adapter_ids: Sequence[str | None]
    ) -> Iterator[Tensor]:
        for row, adapter_id in enumerate(adapter_ids):
            yield self._forward_row(model, row, token_ids[row : row + 1], adapter_id)
        self.width += token_ids.shape[1]

    def _forward_row(
        self, model: BaseModel, row: int, token_ids: Tensor, adapter_id: str | None
    ) -> Tensor:
        token_ids = token_ids[:, max(0, self.padding[row] - self.width) :]
        state = "cache_params" if model.takes("cache_params") else "past_key_values"
        inputs: dict[str, Any] = {state: self._states[row]}
        if state == "past_key_values" and self._states[row] is None:
            inputs[state] = DynamicCache(config=model.config)
        try:
            with (
                out_of_memory_named(),
                model.adapters.routed(rows_by_adapter([adapter_id], token_ids.shape[1])),
            ):
                output = model.network(input_ids=token_ids, use_cache=True, **inputs)
        except OutOfMemory:
            return torch.full((1, 1, model.config.vocab_size), torch.nan, device=model.device)
        self._states[row] = getattr(output, state)
        logits: Tensor = output.logits
        return logits


def separation_obstacle(model: BaseModel) -> str | None:
    """Why this model cannot go on from a cache of its own, as a sentence; or None. Tried out."""
    rows = [[(7 * i + 3) % model.config.vocab_size for i in range(n)] for n in (9, 5)]
    caches = SeparateCaches([0, 4])
    padded = torch.tensor([[0] * (9 - len(row)) + row for row in rows], device=model.device)
    try:
        for columns in (slice(0, 7), slice(7, 8), slice(8, 9)):
            stepwise = caches.forward(model, padded[:, columns], [None, None]).float()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return "The model does not take a cache."
    inputs = [torch.tensor([row], device=model.device) for row in rows]
    with torch.no_grad():
        alone = torch.cat([model.network(i, use_cache=False).logits[:, -1] for i in inputs]).float()
    is_same = (stepwise - alone).norm() / alone.norm() < model.tolerance
    return None if is_same else "The model answers differently when it goes on from its cache."
