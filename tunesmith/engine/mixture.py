"""Many adapters in one forward: their A and B matrices stand stacked, a mask tells them apart.

For tokens that each go through an adapter of their own, x Aᵀ is computed against all stacked A at
once, all but each token's own columns are set to 0, and the rest goes through all stacked B: two
matrix products a layer, however many adapters there are. Ranks may differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.engine.lora import Adapter

Named = tuple[str, Adapter]


@dataclass(slots=True)
class AdapterStack:
    """The stacked matrices, by layer: A as (columns, in), B as (columns, out) times its scale.

    An adapter joins when a token first needs it, and stays until columns that no token needs
    would be more than half of them.
    """

    layers: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    num_columns: int = 0
    _capacity: int = 0
    _places: dict[str, tuple[Adapter, slice]] = field(default_factory=dict)

    def forget(self, adapter_id: str) -> None:
        """Its columns are nobody's from now on."""
        self._places.pop(adapter_id, None)
        if not self._places:
            self._clear(0)

    def takes(self, name: str, adapter: Adapter) -> bool:
        """Not one in training, whose weights change from step to step.

        Nor one that is too large for its numbers: 0 times infinity would spoil other tokens.
        """
        if adapter.flat.requires_grad:
            return False
        scale = max(1.0, abs(adapter.scale))
        return self._has(name, adapter) or bool((adapter.rounded_flat * scale).isfinite().all())

    def place(self, wanted: dict[str, Adapter]) -> dict[str, slice]:
        """The columns of each of these adapters."""
        missing = {name: a for name, a in wanted.items() if not self._has(name, a)}
        num_wanted = sum(adapter.lora.rank for adapter in wanted.values())
        num_missing = sum(adapter.lora.rank for adapter in missing.values())
        if self.num_columns + num_missing > min(self._capacity, 2 * num_wanted):
            self._clear(2 * num_wanted)
            missing = wanted
        for name, adapter in missing.items():
            self._append(name, adapter)
        return {name: self._places[name][1] for name in wanted}

    def _has(self, name: str, adapter: Adapter) -> bool:
        return name in self._places and self._places[name][0] is adapter

    def _clear(self, capacity: int) -> None:
        self.layers.clear()
        self._places.clear()
        self.num_columns = 0
        self._capacity = capacity

    def _append(self, name: str, adapter: Adapter) -> None:
        columns = slice(self.num_columns, self.num_columns + adapter.lora.rank)
        for layer, weights in adapter.rounded.items():
            if layer not in self.layers:
                # In fp32 on a CPU: its small products are two to three times faster so.
                dtype = torch.float32 if weights.a.device.type == "cpu" else weights.a.dtype
                a = weights.a.new_zeros(self._capacity, weights.a.shape[1], dtype=dtype)
                self.layers[layer] = (a, a.new_zeros(self._capacity, weights.b.shape[0]))
            a, b = self.layers[layer]
            a[columns] = weights.a
            b[columns] = weights.b.t().to(b.dtype) * adapter.scale
        self._places[name] = (adapter, columns)
        self.num_columns = columns.stop


@dataclass(frozen=True, slots=True)
class Mixture:
    """What one forward's tokens go through: ranges of them by one adapter, others by the stack.

    `is_others` (stacked tokens, columns) tells the columns that are not the token's own adapter's.
    """

    ranges: Sequence[tuple[slice, Adapter]]
    stack: AdapterStack
    stacked: slice | Tensor
    is_others: Tensor | None

    def add(self, y: Tensor, x: Tensor, name: str) -> None:
        """Add the adapters' part to a layer's output: x (tokens, in), y (tokens, out)."""
        for tokens, adapter in self.ranges:
            weights = adapter.rounded.get(name)
            if weights is not None:
                hidden = x[tokens] @ weights.a.t()
                y[tokens].addmm_(hidden, weights.b.t(), alpha=adapter.scale)
        matrices = self.stack.layers.get(name)
        if self.is_others is None or matrices is None:
            return
        a, b = (matrix[: self.stack.num_columns] for matrix in matrices)
        hidden = (x[self.stacked].to(a.dtype) @ a.t()).masked_fill_(self.is_others, 0)
        if not isinstance(self.stacked, slice):
            y.index_add_(0, self.stacked, (hidden @ b).to(y.dtype))
        elif a.dtype == y.dtype:
            y[self.stacked].addmm_(hidden, b)
        else:
            y[self.stacked].add_(hidden @ b)


def mixture(stack: AdapterStack, adapters: Sequence[tuple[Named | None, int]]) -> Mixture | None:
    """For a stream of tokens: each adapter (None: the base) and how many tokens it has in turn.

    Single tokens go through the stack, where it takes their adapters.
    """
    ranges: list[tuple[slice, Adapter]] = []
    singles: list[tuple[int, Named | None]] = []
    end = 0
    for named, num_tokens in adapters:
        start, end = end, end + num_tokens
        if num_tokens == 1 and (named is None or stack.takes(*named)):
            singles.append((start, named))
        elif named is not None:
            ranges.append((slice(start, end), named[1]))
    wanted = dict(named for _, named in singles if named is not None)
    if not wanted:
        return Mixture(ranges, stack, slice(0), None) if ranges else None
    places = stack.place(wanted)
    device = next(iter(wanted.values())).flat.device
    is_others = torch.ones(len(singles), stack.num_columns, dtype=torch.bool)
    for token, (_, named) in enumerate(singles):
        if named is not None:
            is_others[token, places[named[0]]] = False
    at = [token for token, _ in singles]
    is_range = at == list(range(at[0], at[0] + len(at)))
    stacked = slice(at[0], at[0] + len(at)) if is_range else torch.tensor(at, device=device)
    return Mixture(ranges, stack, stacked, is_others.to(device))
