"""The last layer's MLP, only where somebody reads what it gives."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine.model import BaseModel


def find_mlp(model: BaseModel) -> nn.Module | None:
    """Under the name that nearly all decoders in transformers give it."""
    layers = getattr(model.network.get_decoder(), "layers", None)
    mlp = getattr(layers[-1], "mlp", None) if isinstance(layers, nn.ModuleList) else None
    return mlp if isinstance(mlp, nn.Module) else None


@contextmanager
def narrowed(model: BaseModel, positions: Sequence[int]) -> Iterator[None]:
    """Within this context only these positions of a stream of one row have a last hidden state."""
    mlp = find_mlp(model)
    ascending = sorted(positions)
    kept = torch.tensor(ascending, device=model.device)
    num_tokens = 0
    if mlp is None:
        yield
        return
    narrow = model.adapters.narrowed(ascending)

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
