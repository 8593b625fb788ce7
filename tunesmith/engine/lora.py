"""LoRA layers that know many adapters, and send each row of a batch through its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from tunesmith.engine.spec import LoraSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """These rows of the batch (None: all) go through this adapter; others see the bare base.

    `dropout` is set in training: the generator that the dropout masks are drawn from.
    """

    adapter_id: str
    rows: slice | None = None
    dropout: torch.Generator | None = None


@dataclass(frozen=True, slots=True)
class LoraWeights:
    """One adapter's share of one layer, in fp32."""

    a: Tensor  # (rank, in)
    b: Tensor  # (out, rank)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Adapter:
    """`flat` holds all weights in one fp32 buffer; the layers' A and B are views of it."""

    lora: LoraSpec
    use_rslora: bool
    flat: Tensor
    layers: dict[str, LoraWeights]  # by the name of the module in the base model

    @property
    def scale(self) -> float:
        """alpha / rank, or alpha / sqrt(rank) for rsLoRA (Kalajdzievski 2023, arXiv 2312.03732)."""
        rank = self.lora.rank
        return self.lora.alpha / (math.sqrt(rank) if self.use_rslora else rank)


LINEAR_TYPES = (nn.Linear, Conv1D)  # GPT-2 keeps its weights the other way round, in Conv1D


def features(layer: Any) -> tuple[int, int]:
    """How many values a linear layer takes in, and how many it gives."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    return layer.nx, layer.nf


class LoraLinear(nn.Module):
    """A frozen linear layer, and beside it what each adapter adds."""

    def __init__(self, base: Any, routes: list[Route], adapters: dict[str, Adapter]) -> None:
        """`base` is one of `LINEAR_TYPES`."""
        super().__init__()
        self.base = base
        self.routes = routes  # shared by all layers of a model, as is `adapters`
        self.adapters = adapters
        self.weights: dict[str, LoraWeights] = {}

    @property
    def weight(self) -> Any:
        return self.base.weight

    @property
    def bias(self) -> Any:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        flat_x = x.flatten(0, -2)  # (batch * seq, in)
        y: Tensor = self.base(flat_x)
        for route in self.routes:
            weights = self.weights.get(route.adapter_id)
            if weights is None:
                continue
            adapter = self.adapters[route.adapter_id]
            inputs, outputs = flat_x, y
            if route.rows is not None:
                inputs = x[route.rows].flatten(0, -2)
                outputs = y.view(*x.shape[:-1], -1)[route.rows].flatten(0, -2)  # still y's memory
            if route.dropout is not None and adapter.lora.dropout > 0:
                inputs = _dropout(inputs, adapter.lora.dropout, route.dropout)
            hidden = inputs @ weights.a.to(x.dtype).t()
            outputs.addmm_(hidden, weights.b.to(x.dtype).t(), alpha=adapter.scale)
        return y.view(*x.shape[:-1], -1)


def _dropout(x: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    kept = torch.empty_like(x).bernoulli_(1 - probability, generator=generator)
    return x * kept.div_(1 - probability)


def rows_by_adapter(adapter_ids: Sequence[str | None]) -> list[Route]:
    """Routes for a batch whose rows are already grouped by adapter."""
    routes = []
    start = 0
    for row in range(1, len(adapter_ids) + 1):
        if row < len(adapter_ids) and adapter_ids[row] == adapter_ids[start]:
            continue
        adapter_id = adapter_ids[start]
        if adapter_id is not None:
            rows = None if row - start == len(adapter_ids) else slice(start, row)
            routes.append(Route(adapter_id=adapter_id, rows=rows))
        start = row
    return routes
