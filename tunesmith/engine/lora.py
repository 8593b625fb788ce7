"""LoRA layers that know many adapters, and send each token of a forward through its own."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from transformers.pytorch_utils import Conv1D

from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.quantized import dense
from tunesmith.engine.spec import LoraSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """These tokens of a forward (None: all) go through this adapter; others see the bare base.

    `tokens` counts through the flattened (batch * seq) tokens. `dropout` is set in training: the
    generator that the dropout masks are drawn from.
    """

    adapter_id: str
    tokens: slice | None = None
    dropout: torch.Generator | None = None


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One adapter's share of one layer."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """`flat` holds all weights in one fp32 buffer; the layers' A and B are views of it.

    `rounded` are the same weights in the dtype that the base computes in, which may be fp32 too.
    """

    lora: LoraSpec
    flat: Tensor
    layers: dict[str, LoraWeights]  # by the name of the module in the base model
    rounded_flat: Tensor
    rounded: dict[str, LoraWeights]

    @property
    def scale(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, arXiv 2312.03732)."""
        rank = self.lora.rank
        return self.lora.alpha / (math.sqrt(rank) if self.lora.use_rslora else rank)

    def round(self) -> None:
        """To be called whenever `flat` has changed."""
        if self.rounded_flat.dtype != self.flat.dtype:
            self.rounded_flat.copy_(self.flat.detach())


LINEAR_TYPES = (nn.Linear, Conv1D)  # GPT-2 keeps its weights the other way round, in Conv1D


def features(layer: Any) -> tuple[int, int]:
    """How many values a linear layer takes in, and how many it gives."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.nx, layer.nf


@dataclass(frozen=True, slots=True)
class Share:
    """What one adapter adds to a linear layer's output for a range of tokens.

    `kept` says where dropout leaves an input; what makes up for the others is in `scale`.
    """

    tokens: slice
    weights: LoraWeights  # in the dtype of the layer's input
    scale: float
    kept: Tensor | None = None  # (tokens, in), bool

    def inputs(self, x: Tensor) -> Tensor:
        """(tokens, in)"""
        return x[self.tokens] if self.kept is None else x[self.tokens] * self.kept


class LoraFunction(torch.autograd.Function):
    """y = x Wᵀ + bias, and for the tokens of each share y += scale · (dropout(x) Aᵀ) Bᵀ.

    W and bias are frozen, and W may be packed. x is kept for backward once, however many layers it
    enters, beside the narrow x Aᵀ; the gradient of x is computed only where something below is
    trained.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,  # (tokens, in)
        weight: Tensor,  # (out, in)
        bias: Tensor | None,
        shares: Sequence[Share],
        *trained: Tensor,  # A and B of each share, as they take gradients
    ) -> Tensor:
        y = linear(x, dense(weight, x.dtype), bias)
        hiddens = []
        for share in shares:
            hidden = share.inputs(x) @ share.weights.a.t()
            y[share.tokens].addmm_(hidden, share.weights.b.t(), alpha=share.scale)
            hiddens.append(hidden)
        ctx.save_for_backward(x, *hiddens)
        ctx.weight = weight  # frozen, and perhaps of a kind that autograd would not keep whole
        ctx.shares = shares
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Any, ...]:
        (dy,) = gradients
        x, *hiddens = ctx.saved_tensors
        dx = dy @ dense(ctx.weight, dy.dtype) if ctx.needs_input_grad[0] else None
        of_trained: list[Tensor] = []
        for share, hidden in zip(ctx.shares, hiddens, strict=True):
            own_dy = dy[share.tokens]
            d_hidden = (own_dy @ share.weights.b).mul_(share.scale)
            of_trained.append(d_hidden.t() @ share.inputs(x))
            of_trained.append((own_dy.t() @ hidden).mul_(share.scale))
            if dx is not None and share.kept is None:
                dx[share.tokens].addmm_(d_hidden, share.weights.a)
            elif dx is not None:
                dx[share.tokens].addcmul_(d_hidden @ share.weights.a, share.kept)
        return dx, None, None, None, *of_trained


class Addition(Protocol):
    """What answers add to a layer's output, in place of routes; nothing is trained through it."""

    def add(self, y: Tensor, x: Tensor, name: str) -> None:
        """Add to y (tokens, out), given x (tokens, in)."""


class LoraLinear(nn.Module):
    """A frozen linear layer, and beside it what each adapter adds."""

    def __init__(
        self,
        base: Any,
        name: str,
        routes: list[Route],
        adapters: dict[str, Adapter],
        additions: list[Addition],
    ) -> None:
        """`base` is one of `LINEAR_TYPES`."""
        super().__init__()
        self.base = base
        self.name = name
        self.routes = routes  # shared by all layers of a model, as are those that follow
        self.adapters = adapters
        self.additions = additions

    @property
    def weight(self) -> Any:
        return self.base.weight

    @property
    def bias(self) -> Any:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        routes = [r for r in self.routes if self.name in self.adapters[r.adapter_id].layers]
        if not routes:
            y: Tensor = self.base(x)
            for addition in self.additions:
                addition.add(y.flatten(0, -2), x.flatten(0, -2), self.name)
            return y
        flat_x = x.flatten(0, -2)  # (batch * seq, in)
        weight = self.weight if isinstance(self.base, nn.Linear) else self.weight.t()
        trained = [self.adapters[route.adapter_id].layers[self.name] for route in routes]
        y = LoraFunction.apply(  # type: ignore[no-untyped-call]
            flat_x,
            weight,
            self.bias,
            [self._share(route, flat_x) for route in routes],
            *(tensor for weights in trained for tensor in (weights.a, weights.b)),
        )
        return y.view(*x.shape[:-1], -1)

    def _share(self, route: Route, x: Tensor) -> Share:
        tokens = route.tokens or slice(0, len(x))
        if tokens.stop > len(x):
            raise UnsupportedModel(f"The layer {self.name} does not see all tokens of a forward.")
        adapter = self.adapters[route.adapter_id]
        weights, scale = adapter.rounded[self.name], adapter.scale
        if route.dropout is None or adapter.lora.dropout == 0:
            return Share(tokens, weights, scale)
        probability = 1 - adapter.lora.dropout
        kept = torch.empty_like(x[tokens], dtype=torch.bool)
        kept.bernoulli_(probability, generator=route.dropout)
        return Share(tokens, weights, scale / probability, kept)


def rows_by_adapter(adapter_ids: Sequence[str | None], num_columns: int) -> list[Route]:
    """Routes for a batch of so many columns whose rows are already grouped by adapter."""
    routes = []
    start = 0
    for row in range(1, len(adapter_ids) + 1):
        if row < len(adapter_ids) and adapter_ids[row] == adapter_ids[start]:
            continue
        adapter_id = adapter_ids[start]
        if adapter_id is not None:
            is_all = row - start == len(adapter_ids)
            tokens = None if is_all else slice(start * num_columns, row * num_columns)
            routes.append(Route(adapter_id=adapter_id, tokens=tokens))
        start = row
    return routes


def narrowed(routes: Sequence[Route], positions: Sequence[int]) -> list[Route]:
    """The routes of a forward's tokens once only these, in ascending order, go on."""
    kept = []
    for route in routes:
        if route.tokens is None:
            kept.append(route)
            continue
        start = bisect_left(positions, route.tokens.start)
        stop = bisect_left(positions, route.tokens.stop)
        if start < stop:
            kept.append(replace(route, tokens=slice(start, stop)))
    return kept
