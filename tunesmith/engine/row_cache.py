"""Keys and values of many rows of any length: in one forward each goes on by its own tokens.

The tokens of all rows stand in one stream without padding, so a long prompt and the next token of
every running answer share a forward. Only attention looks at the rows one by one, or at all those
that go on by a single token together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import repeat_kv

from tunesmith.engine import attention
from tunesmith.engine.attention import NAME
from tunesmith.engine.model import BaseModel

_BLOCK = 64  # columns, by which the room for all rows grows
_ROW_BLOCK = 4


@dataclass(slots=True, eq=False)
class Row:
    """A place in the cache: `length` tokens are known."""

    index: int
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What one forward appends to one row."""

    row: Any  # of the cache that made it
    token_ids: Sequence[int]
    adapter_id: str | None = None
    keeps_all: bool = False  # logits after each token, not after the last alone


class RowCache:
    """At `forward`, each piece's tokens see what their row holds, and are kept there."""

    reads_whole_prompts = False

    def __init__(self) -> None:
        self.windows: set[int] = set()  # of the layers so far, 0 where there is none
        self._rows: list[Row] = []
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}  # (rows, heads, columns, size) each

    def open(self) -> Row:
        row = Row(len(self._rows))
        self._rows.append(row)
        return row

    def close(self, row: Row) -> None:
        """Give the row's place away; the last row moves there."""
        last = self._rows.pop()
        if last is not row:
            for keys, values in self._layers.values():
                for buffer in (keys, values):
                    if last.index < len(buffer):  # else it has not been written to
                        held = buffer[last.index, :, : last.length]
                        buffer[row.index, :, : last.length] = held
            last.index = row.index
            self._rows[last.index] = last
        if not self._rows:
            self._layers.clear()

    @torch.no_grad()
    def forward(self, model: BaseModel, pieces: Sequence[Piece]) -> Tensor:
        """The logits that the pieces ask for, one below the other, (kept, vocabulary)."""
        kept = torch.tensor(_kept(pieces), device=model.device)
        keep = {"logits_to_keep": kept} if model.takes("logits_to_keep") else {}
        logits: Tensor = self._run(model, model.network, pieces, keep).logits[0]
        return logits if keep else logits[kept]

    @torch.no_grad()
    def hidden(self, model: BaseModel, pieces: Sequence[Piece]) -> Tensor:
        """The hidden states behind the final norm, of all tokens, (tokens, hidden)."""
        output = self._run(model, model.network.get_decoder(), pieces, {})
        hidden: Tensor = output.last_hidden_state[0]
        return hidden

    def read(self, row: Row, start: int, end: int) -> list[Tensor]:
        """Copies of the keys and values of these columns, layer by layer."""
        held = (buffer for layer in self._layers.values() for buffer in layer)
        return [buffer[row.index, :, start:end].clone() for buffer in held]

    def write(self, row: Row, columns: Sequence[Tensor]) -> None:
        """Append what `read` gave."""
        width = columns[0].shape[1]
        for number in range(len(columns) // 2):
            keys, values = columns[2 * number : 2 * number + 2]
            room = self.room(number, keys, values, row.length + width)
            for buffer, held in zip(room, (keys, values), strict=True):
                buffer[row.index, :, row.length : row.length + width] = held
        row.length += width

    def _run(
        self, model: BaseModel, network: Any, pieces: Sequence[Piece], more: dict[str, Any]
    ) -> Any:
        """Lengths grow when all went well; until then what was written is nobody's."""
        token_ids = [token_id for piece in pieces for token_id in piece.token_ids]
        positions = [
            piece.row.length + offset for piece in pieces for offset in range(len(piece.token_ids))
        ]
        adapters = [(piece.adapter_id, len(piece.token_ids)) for piece in pieces]
        stream = _Stream(self, pieces, model.device)
        with model.adapters.mixed(adapters), attention.by(stream.attend):
            output = network(
                input_ids=torch.tensor([token_ids], device=model.device),
                position_ids=torch.tensor([positions], device=model.device),
                # Nobody looks at it: a mask in its final form spares the making of one.
                attention_mask=torch.zeros(1, 1, 1, 1, device=model.device),
                use_cache=False,
                **more,
            )
        for piece in pieces:
            piece.row.length += len(piece.token_ids)
        return output

    def room(
        self, layer: int, keys: Tensor, values: Tensor, num_columns: int
    ) -> tuple[Tensor, Tensor]:
        """The layer's buffers, with so many columns at least; `keys`, `values` show the shape."""
        held = self._layers.get(layer)
        num_rows = len(self._rows)
        if held is not None and held[0].shape[0] >= num_rows and held[0].shape[2] >= num_columns:
            return held
        num_rows = -(-num_rows // _ROW_BLOCK) * _ROW_BLOCK
        num_columns = -(-num_columns // _BLOCK) * _BLOCK
        if held is not None:
            num_rows = max(num_rows, held[0].shape[0])
            num_columns = max(num_columns, held[0].shape[2])
        made = []
        for number, like in enumerate((keys, values)):
            # Zeros, not whatever memory holds: masked columns are multiplied by 0, and 0 * NaN
            # would spoil the row.
            buffer = like.new_zeros(num_rows, like.shape[-3], num_columns, like.shape[-1])
            if held is not None:
                old = held[number]
                buffer[: old.shape[0], :, : old.shape[2]] = old
            made.append(buffer)
        self._layers[layer] = (made[0], made[1])
        return self._layers[layer]


def _kept(pieces: Sequence[Piece]) -> list[int]:
    """Positions in the stream whose logits are wanted."""
    kept: list[int] = []
    end = 0
    for piece in pieces:
        start, end = end, end + len(piece.token_ids)
        kept += range(start if piece.keeps_all else end - 1, end)
    return kept


class _Stream:
    """One forward: which tokens of the stream belong to which row."""

    def __init__(self, cache: RowCache, pieces: Sequence[Piece], device: torch.device) -> None:
        self._cache = cache
        self._num_columns = max(piece.row.length + len(piece.token_ids) for piece in pieces)
        singles: list[tuple[int, Row]] = []
        self._longer: list[tuple[int, int, Row]] = []  # start and end in the stream
        end = 0
        for piece in pieces:
            start, end = end, end + len(piece.token_ids)
            if end - start == 1:
                singles.append((start, piece.row))
            else:
                self._longer.append((start, end, piece.row))
        self._masks: dict[tuple[int, int, int], Tensor] = {}
        self._has_singles = bool(singles)
        if not singles:
            return
        self._tokens = torch.tensor([token for token, _ in singles], device=device)
        self._rows = torch.tensor([row.index for _, row in singles], device=device)
        self._lengths = torch.tensor([row.length for _, row in singles], device=device)
        self._top = max(row.index for _, row in singles) + 1
        self._single_width = max(row.length for _, row in singles) + 1
        self._are_first = [t for t, _ in singles] == list(range(len(singles)))
        self._are_all_rows = [row.index for _, row in singles] == list(range(self._top))
        self._single_masks: dict[int, Tensor] = {}

    def attend(
        self,
        module: Any,
        query: Tensor,  # (1, heads, tokens, size)
        key: Tensor,
        value: Tensor,
        *,
        scale: float | None,
        window: int,
    ) -> Tensor:
        """(1, tokens, heads, size); `window` 0: all of the row."""
        self._cache.windows.add(window)
        keys, values = self._cache.room(module.layer_idx, key, value, self._num_columns)
        output = query.new_empty(query.shape[2], query.shape[1], value.shape[-1])
        if self._has_singles:
            tokens = slice(0, len(self._tokens)) if self._are_first else self._tokens
            keys[self._rows, :, self._lengths] = key[0, :, tokens].transpose(0, 1)
            values[self._rows, :, self._lengths] = value[0, :, tokens].transpose(0, 1)
            output[tokens] = self._singles(query[0, :, tokens], keys, values, scale, window)
        for start, end, row in self._longer:
            width = row.length + end - start
            keys[row.index, :, row.length : width] = key[0, :, start:end]
            values[row.index, :, row.length : width] = value[0, :, start:end]
            num_repeats = query.shape[1] // key.shape[1]
            known_keys, known_values = (
                repeat_kv(buffer[row.index : row.index + 1, :, :width], num_repeats)
                for buffer in (keys, values)
            )
            is_plain = row.length == 0 and not 0 < window < width
            part = scaled_dot_product_attention(
                query[:, :, start:end],
                known_keys,
                known_values,
                attn_mask=None if is_plain else self._mask(row.length, width, window, query),
                is_causal=is_plain,
                scale=scale,
            )
            output[start:end] = part[0].transpose(0, 1)
        return output[None]

    def _singles(
        self, query: Tensor, keys: Tensor, values: Tensor, scale: float | None, window: int
    ) -> Tensor:
        """Rows that go on by one token, all at once: (tokens, heads, size).

        The query heads that share a key head stand where the positions would: nothing is repeated.
        """
        num_heads, num_tokens, size = query.shape
        grouped = query.transpose(0, 1).reshape(num_tokens, keys.shape[1], -1, size)
        if not self._are_all_rows:
            spread = grouped.new_zeros(self._top, *grouped.shape[1:])
            grouped = spread.index_copy_(0, self._rows, grouped)
        output = scaled_dot_product_attention(
            grouped,
            keys[: self._top, :, : self._single_width],
            values[: self._top, :, : self._single_width],
            attn_mask=self._single_mask(window, query),
            scale=scale,
        )
        if not self._are_all_rows:
            output = output[self._rows]
        return output.reshape(num_tokens, num_heads, -1)

    def _single_mask(self, window: int, like: Tensor) -> Tensor:
        """(rows, 1, 1, columns), added to the scores."""
        if window not in self._single_masks:
            columns = torch.arange(self._single_width, device=like.device)[None]
            hidden = columns > self._lengths[:, None]
            if window:
                hidden |= columns <= self._lengths[:, None] - window
            mask = like.new_zeros(self._top, self._single_width)  # others' rows see anything
            mask[self._rows] = like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))
            self._single_masks[window] = mask[:, None, None]
        return self._single_masks[window]

    def _mask(self, num_known: int, width: int, window: int, like: Tensor) -> Tensor:
        """(own, known + own), added to the scores."""
        key = (num_known, width, window)
        if key not in self._masks:
            own = torch.arange(num_known, width, device=like.device)[:, None]
            columns = torch.arange(width, device=like.device)[None]
            hidden = columns > own
            if window:
                hidden |= columns <= own - window
            self._masks[key] = like.new_zeros(hidden.shape).masked_fill_(hidden, float("-inf"))
        return self._masks[key]


def batching_obstacle(model: BaseModel) -> str | None:
    """Why rows of this model cannot be answered together, as a sentence; or None. Tried out."""
    if not model.has_positional_cache:
        kinds = ", ".join(sorted(model.layer_types))
        return f"The model has layers that are not plain attention ({kinds})."
    if model.network.config._attn_implementation != NAME or not model.takes("position_ids"):
        return "The model's attention is of a kind of its own."
    ids = [[(7 * i + 3) % model.config.vocab_size for i in range(n)] for n in (40, 24)]
    cache = RowCache()
    long, short = cache.open(), cache.open()
    try:
        cache.forward(model, [Piece(row=short, token_ids=ids[1][:-1])])
        for start, end in ((0, 20), (20, 39)):
            cache.forward(model, [Piece(row=long, token_ids=ids[0][start:end])])
        pieces = [
            Piece(row=long, token_ids=ids[0][-1:]),
            Piece(row=short, token_ids=ids[1][-1:]),
        ]
        together = cache.forward(model, pieces).float()
    except (RuntimeError, ValueError, TypeError, AttributeError, IndexError):
        return "The model does not take rows as a stream."
    has_windows = model.layer_types != {"full_attention"}
    if has_windows != any(cache.windows) or "chunked_attention" in model.layer_types:
        return "The model's attention does not say how far it reaches back."
    inputs = [torch.tensor([row], device=model.device) for row in ids]
    with torch.no_grad():
        alone = torch.cat([model.network(i, use_cache=False).logits[:, -1] for i in inputs]).float()
    is_same = (together - alone).norm() / alone.norm() < model.tolerance
    return None if is_same else "The model answers differently when rows share a forward."
