"""Keys and values of several rows, padded on the left to one width; rows join and leave."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from tunesmith.engine.lora import rows_by_adapter
from tunesmith.engine.model import BaseModel


class KeyValueCache:
    """`padding[i]` columns on the left of row i mean nothing and are never looked at."""

    takes_whole_prompts = False

    def __init__(self, padding: list[int]) -> None:
        # Without a config every layer keeps all positions, those with a window too: the window
        # is then a matter of the mask alone, and joining rows needs no care.
        self._cache = DynamicCache()
        self.padding = padding

    @property
    def width(self) -> int:
        return int(self._cache.get_seq_length())

    @torch.no_grad()
    def forward(
        self, model: BaseModel, token_ids: Tensor, adapter_ids: Sequence[str | None]
    ) -> Tensor:
        """Append tokens (rows, new); returns the logits after the last, (rows, vocabulary)."""
        keep_last = {"logits_to_keep": 1} if model.takes("logits_to_keep") else {}
        return self._append(model, token_ids, adapter_ids, keep_last)[:, -1]

    @torch.no_grad()
    def score(
        self, model: BaseModel, token_ids: Tensor, adapter_ids: Sequence[str | None]
    ) -> Tensor:
        """Append tokens (rows, new); returns the logits after each, (rows, new, vocabulary)."""
        return self._append(model, token_ids, adapter_ids, {})

    def _append(
        self,
        model: BaseModel,
        token_ids: Tensor,
        adapter_ids: Sequence[str | None],
        keep: dict[str, int],
    ) -> Tensor:
        width = self.width
        device = model.device
        padding = torch.tensor(self.padding, device=device)[:, None]
        columns = torch.arange(width + token_ids.shape[1], device=device)[None]
        try:
            with model.adapters.routed(rows_by_adapter(adapter_ids, token_ids.shape[1])):
                logits: Tensor = model.network(
                    input_ids=token_ids,
                    attention_mask=(columns >= padding).long(),
                    position_ids=(columns[:, width:] - padding).clamp(min=0),
                    past_key_values=self._cache,
                    use_cache=True,
                    **keep,
                ).logits
        except BaseException:
            self._narrow(0, width)  # some layers may have appended already
            raise
        return logits

    def join(self, other: "KeyValueCache") -> None:
        """Put the other cache's rows below these."""
        width = max(self.width, other.width)
        self._widen(width)
        other._widen(width)
        self.padding += other.padding
        for mine, theirs in zip(self._cache.layers, other._cache.layers, strict=True):
            mine.keys = torch.cat([mine.keys, theirs.keys])
            mine.values = torch.cat([mine.values, theirs.values])

    def select(self, rows: list[int]) -> None:
        """Keep these rows, in this order, and no column that is padding for all of them."""
        self._cache.batch_select_indices(torch.tensor(rows))
        self.padding = [self.padding[row] for row in rows]
        spare = min(self.padding)
        if spare:
            self._narrow(spare, self.width)
            self.padding = [count - spare for count in self.padding]

    def _widen(self, width: int) -> None:
        missing = width - self.width
        if missing == 0:
            return
        self.padding = [count + missing for count in self.padding]
        for layer in self._cache.layers:
            layer.keys = nn.functional.pad(layer.keys, (0, 0, missing, 0))
            layer.values = nn.functional.pad(layer.values, (0, 0, missing, 0))

    def _narrow(self, start: int, end: int) -> None:
        for layer in self._cache.layers:
            if layer.is_initialized:
                layer.keys = layer.keys[..., start:end, :].contiguous()
                layer.values = layer.values[..., start:end, :].contiguous()


def batching_obstacle(model: BaseModel) -> str | None:
    """Why rows of this model cannot be answered together, as a sentence; or None. Tried out."""
    if not model.has_positional_cache:
        kinds = ", ".join(sorted(model.layer_types))
        return f"The model has layers that are not plain attention ({kinds})."
    rows = [[(7 * i + 3) % model.config.vocab_size for i in range(n)] for n in (9, 5)]
    padded = torch.tensor([[0] * (9 - len(row)) + row for row in rows], device=model.device)
    cache = KeyValueCache([0, 4])
    try:
        cache.forward(model, padded[:, :6], [None, None])
        cache.forward(model, padded[:, 6:8], [None, None])
        together = cache.forward(model, padded[:, 8:], [None, None]).float()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return "The model does not take a plain key-value cache."
    inputs = [torch.tensor([row], device=model.device) for row in rows]
    with torch.no_grad():
        alone = torch.cat([model.network(i, use_cache=False).logits[:, -1] for i in inputs]).float()
    is_same = (together - alone).norm() / alone.norm() < model.tolerance
    return None if is_same else "The model answers differently when rows are padded."
