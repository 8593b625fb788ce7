"""What stands between the linear layers of a decoder, made to keep less for the backward.

Stock layers leave it to autograd, which keeps every value on the way, some in fp32. The functions
here keep what comes in, and compute the rest again. They take the place of the layers' own only
within a forward of a packed batch, and only in layers that are known by name.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.nn.functional import silu

from tunesmith.engine.attention import attend

_FAMILIES = ("Llama", "Mistral", "Qwen2", "Qwen3")  # as transformers names their layers


@contextmanager
def lean(network: nn.Module) -> Iterator[None]:
    """Within this context the layers that are known keep less."""
    changed = [
        (module, forward)
        for module in network.modules()
        if (forward := _FORWARDS.get(type(module).__name__)) and _is_as_expected(module)
    ]
    for module, forward in changed:
        module.forward = partial(forward, module)
    try:
        yield
    finally:
        for module, _ in changed:
            del module.forward


def is_known(layer: nn.Module) -> bool:
    """Whether a decoder's layer is made of what stands here, in the usual order."""
    parts = [m for m in layer.modules() if type(m).__name__ in _FORWARDS]
    is_of_family = type(layer).__name__ in [f"{family}DecoderLayer" for family in _FAMILIES]
    return is_of_family and all(_is_as_expected(part) for part in parts)


def _is_as_expected(module: Any) -> bool:
    """Norms must be frozen, and gates go through SiLU."""
    if hasattr(module, "act_fn"):
        return type(module.act_fn).__name__ in ("SiLU", "SiLUActivation")
    if hasattr(module, "variance_epsilon"):
        return not module.weight.requires_grad
    return True


class _RmsNorm(torch.autograd.Function):
    """weight * x / sqrt(mean(x²) + epsilon), in fp32 up to the product with the weight."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, epsilon: float) -> Tensor:
        wide = x.float()
        rate = torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, rate)
        return (wide * rate).to(x.dtype).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        x, weight, rate = ctx.saved_tensors
        wide = x.float()
        gradient = (gradients[0] * weight).float()
        along = (gradient * wide).mean(-1, keepdim=True).mul_(rate.square())
        dx = torch.addcmul(gradient, wide, along, value=-1).mul_(rate)
        return dx.to(x.dtype), None, None


class _GatedSilu(torch.autograd.Function):
    """silu(gate) * up"""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor, activation: "_Activation") -> Tensor:
        ctx.save_for_backward(gate, up)
        ctx.activation = activation
        return silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        gate, up = ctx.saved_tensors
        of_gate = torch.ops.aten.silu_backward(gradient * up, gate)
        return of_gate, ctx.activation.of(gate).mul_(gradient), None


class _Activation:
    """silu(gate), kept from when the product is computed again until its own backward, which
    comes next.
    """

    def __init__(self) -> None:
        self._activated: Tensor | None = None

    def times(self, gate: Tensor, up: Tensor) -> Tensor:
        self._activated = silu(gate)
        return self._activated * up

    def of(self, gate: Tensor) -> Tensor:
        activated, self._activated = self._activated, None
        return silu(gate) if activated is None else activated


class _Rotation(torch.autograd.Function):
    """Rotary positions (Su et al. 2021, arXiv 2104.09864) as transformers lays them out: value i of
    the first half of a head turns with value i of the second.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """`x` is (1, tokens, heads, size), the others (1, tokens, 1, size)."""
        ctx.save_for_backward(cos, sin)
        half = x.shape[-1] // 2
        turned = x * cos
        turned[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-1)
        turned[..., half:].addcmul_(x[..., :half], sin[..., half:])
        return turned

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (gradient,) = gradients
        cos, sin = ctx.saved_tensors
        half = gradient.shape[-1] // 2
        back = gradient * cos
        back[..., :half].addcmul_(gradient[..., half:], sin[..., half:])
        back[..., half:].addcmul_(gradient[..., :half], sin[..., :half], value=-1)
        return back, None, None


def _rms_norm(module: Any, hidden_states: Tensor) -> Tensor:
    normed: Tensor = _RmsNorm.apply(hidden_states, module.weight, module.variance_epsilon)  # type: ignore[no-untyped-call]
    return normed


def _mlp(module: Any, x: Tensor) -> Tensor:
    gate, up = module.gate_proj(x), module.up_proj(x)
    activation = _Activation()
    product = _GatedSilu.apply(gate, up, activation)  # type: ignore[no-untyped-call]
    with _computed_again(product, partial(activation.times, gate.detach(), up.detach())):
        y: Tensor = module.down_proj(product)
    return y


def _attention(
    module: Any,
    hidden_states: Tensor,
    position_embeddings: tuple[Tensor, Tensor],
    attention_mask: Tensor | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Without a cache."""
    query = queries(module, hidden_states, position_embeddings)
    key, value = keys_and_values(module, hidden_states, position_embeddings)
    query, key, value = (x.transpose(1, 2) for x in (query, key, value))
    output, _ = attend(module, query, key, value, attention_mask, scaling=module.scaling)
    return module.o_proj(output.flatten(2)), None


def queries(module: Any, x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    """(1, tokens, heads, size), where `turns` are the tokens' own"""
    query = module.q_proj(x).view(*x.shape[:-1], -1, module.head_dim)
    return _turned(module.q_norm(query) if hasattr(module, "q_norm") else query, turns)


def keys_and_values(module: Any, x: Tensor, turns: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """(1, tokens, key heads, size)"""
    key, value = (
        projection(x).view(*x.shape[:-1], -1, module.head_dim)
        for projection in (module.k_proj, module.v_proj)
    )
    return _turned(module.k_norm(key) if hasattr(module, "k_norm") else key, turns), value


def _turned(x: Tensor, turns: tuple[Tensor, Tensor]) -> Tensor:
    cos, sin = (turn.unsqueeze(2) for turn in turns)
    turned: Tensor = _Rotation.apply(x, cos, sin)  # type: ignore[no-untyped-call]
    return turned


@contextmanager
def _computed_again(x: Tensor, compute: Callable[[], Tensor]) -> Iterator[None]:
    """What is kept of x within this context, in whatever shape, is how to compute it."""

    def keep(tensor: Tensor) -> Any:
        is_x = tensor.data_ptr() == x.data_ptr() and tensor.numel() == x.numel()
        return tensor.shape if is_x else tensor

    def bring(kept: Any) -> Tensor:
        return kept if isinstance(kept, Tensor) else compute().view(kept)

    with saved_tensors_hooks(keep, bring):
        yield


_FORWARDS: dict[str, Callable[..., Any]] = {
    f"{family}{part}": forward
    for family in _FAMILIES
    for part, forward in (("RMSNorm", _rms_norm), ("MLP", _mlp), ("Attention", _attention))
}
