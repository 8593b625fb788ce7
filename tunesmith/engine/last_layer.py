"""The last layer, only where somebody reads what it gives."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine import tiles
from tunesmith.engine.attention import SegmentTable
from tunesmith.engine.lean_layers import is_known, keys_and_values, queries
from tunesmith.engine.model import BaseModel


@contextmanager
def narrowed(model: BaseModel, positions: Sequence[int], table: SegmentTable) -> Iterator[None]:
    """Within this context only these positions of a stream of one row have a last hidden state.

    Where layers are lean, the last one computes only keys and values for the others; where they
    are not, all but its MLP.
    """
    layers = getattr(model.network.get_decoder(), "layers", None)
    last = layers[-1] if isinstance(layers, nn.ModuleList) else None
    mlp = getattr(last, "mlp", None)
    ascending = sorted(positions)
    if last is not None and _can_be_narrow(model, last, ascending, table):
        with _narrow_layer(model, last, ascending, table):
            yield
    elif isinstance(mlp, nn.Module):  # under the name that nearly all decoders give it
        with _narrow_mlp(model, mlp, ascending):
            yield
    else:
        yield


def _can_be_narrow(
    model: BaseModel, layer: nn.Module, positions: Sequence[int], table: SegmentTable
) -> bool:
    is_lean = model.shortcuts.lean_layers and is_known(layer)
    return is_lean and all(table.short) and len(positions) > 0


@contextmanager
def _narrow_layer(
    model: BaseModel, layer: Any, positions: Sequence[int], table: SegmentTable
) -> Iterator[None]:
    kept = torch.tensor(positions, device=model.device)
    narrow = partial(model.adapters.narrowed, positions)

    def forward(x: Tensor, position_embeddings: tuple[Tensor, Tensor], **others: Any) -> Tensor:
        normed = layer.input_layernorm(x)
        turns = position_embeddings
        key, value = keys_and_values(layer.self_attn, normed, turns)
        with narrow():
            query = queries(
                layer.self_attn, normed[:, kept], (turns[0][:, kept], turns[1][:, kept])
            )
            tiling = table.sparse_tiling(positions, x.shape[1], query.shape[2], key.shape[2])
            scale = layer.self_attn.scaling
            output = tiles.attend(query[0], key[0], value[0], tiling, scale)[None]
            y = x[:, kept] + layer.self_attn.o_proj(output.flatten(2))
            y = y + layer.mlp(layer.post_attention_layernorm(y))
        return torch.zeros_like(x).index_copy(1, kept, y)

    layer.forward = forward
    try:
        yield
    finally:
        del layer.forward


@contextmanager
def _narrow_mlp(model: BaseModel, mlp: nn.Module, positions: Sequence[int]) -> Iterator[None]:
    kept = torch.tensor(positions, device=model.device)
    narrow: AbstractContextManager[None] = model.adapters.narrowed(positions)
    num_tokens = 0

    def gather(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal num_tokens
        num_tokens = inputs[0].shape[1]
        narrow.__enter__()
        return (inputs[0].index_select(1, kept), *inputs[1:])

    def scatter(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        whole = output.new_zeros(1, num_tokens, output.shape[-1])
        narrow.__exit__(None, None, None)
        return whole.index_copy(1, kept, output)

    hooks = [mlp.register_forward_pre_hook(gather), mlp.register_forward_hook(scatter)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
