"""Many adapters in one forward: they stand stacked, and each token goes to its own adapter's place.

For tokens that each go through an adapter of their own, two batched products a layer do for all,
however many adapters there are. A place is `COLUMNS` wide: a smaller rank leaves columns at zero, a
larger one has several places, whose results are summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from tunesmith.engine.lora import Adapter

COLUMNS = 16

Named = tuple[str, Adapter]


@dataclass(slots=True)
class AdapterStack:
    """The stacked matrices, by layer: A as (places, in, columns), B times its adapter's scale as
    (places, columns, out).

    An adapter joins when a token first needs it, and stays until places that no token needs
    would be more than half of them.
    """

    layers: dict[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    num_places: int = 0
    _capacity: int = 0
    _places: dict[str, tuple[Adapter, range]] = field(default_factory=dict)

    def forget(self, adapter_id: str) -> None:
        """Its places are nobody's from now on."""
        self._places.pop(adapter_id, None)
        if not self._places:
            self._clear(0)

    def place(self, wanted: dict[str, Adapter]) -> dict[str, range]:
        """The places of each of these adapters."""
        missing = {name: a for name, a in wanted.items() if not self._has(name, a)}
        num_wanted = sum(map(_num_places, wanted.values()))
        num_missing = sum(map(_num_places, missing.values()))
        if self.num_places + num_missing > min(self._capacity, 2 * num_wanted):
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
        self.num_places = 0
        self._capacity = capacity

    def _append(self, name: str, adapter: Adapter) -> None:
        places = range(self.num_places, self.num_places + _num_places(adapter))
        for layer, weights in adapter.rounded.items():
            if layer not in self.layers:
                # In fp32 on a CPU: its small products are two to three times faster so.
                dtype = torch.float32 if weights.a.device.type == "cpu" else weights.a.dtype
                num_in, num_out = weights.a.shape[1], weights.b.shape[0]
                a = weights.a.new_zeros(self._capacity, num_in, COLUMNS, dtype=dtype)
                self.layers[layer] = (a, a.new_zeros(self._capacity, COLUMNS, num_out))
            a, b = self.layers[layer]
            for number, place in enumerate(places):
                own = slice(number * COLUMNS, min((number + 1) * COLUMNS, adapter.lora.rank))
                width = own.stop - own.start
                a[place, :, :width] = weights.a[own].t()
                b[place, :width] = weights.b[:, own].t().to(b.dtype) * adapter.scale
        self._places[name] = (adapter, places)
        self.num_places = places.stop


def _num_places(adapter: Adapter) -> int:
    return -(-adapter.lora.rank // COLUMNS)


@dataclass(frozen=True, slots=True)
class Seating:
    """Which tokens of a forward stand at which places of the stack.

    `source` (places * depth) tells the token that stands there, any where nobody needs to; None
    where each token has the place of its own number. `found` (tokens, most) tells where the results
    of a token are; `is_nothing` marks those that it has not.
    """

    tokens: slice | Tensor
    places: slice
    source: Tensor | None
    found: Tensor | None
    is_nothing: Tensor | None

    def add(self, y: Tensor, x: Tensor, a: Tensor, b: Tensor) -> None:
        a, b = a[self.places], b[self.places]
        own = x[self.tokens].to(a.dtype)
        seated = own if self.source is None else own[self.source]
        hidden = torch.bmm(seated.view(len(a), -1, own.shape[-1]), a)
        result = torch.bmm(hidden, b).flatten(0, 1)
        if self.found is not None:
            parts = result[self.found]  # (tokens, most, out)
            if self.is_nothing is not None:
                parts.masked_fill_(self.is_nothing, 0)
            result = parts.sum(1)
        if isinstance(self.tokens, slice):
            y[self.tokens].add_(result)
        else:
            y.index_add_(0, self.tokens, result.to(y.dtype))


@dataclass(frozen=True, slots=True)
class Mixture:
    """What one forward's tokens go through: ranges of them by one adapter, others by the stack."""

    ranges: Sequence[tuple[slice, Adapter]]
    stack: AdapterStack
    seating: Seating | None

    def add(self, y: Tensor, x: Tensor, name: str) -> None:
        """Add the adapters' part to a layer's output: x (tokens, in), y (tokens, out)."""
        for tokens, adapter in self.ranges:
            weights = adapter.rounded.get(name)
            if weights is not None:
                hidden = x[tokens] @ weights.a.t()
                y[tokens].addmm_(hidden, weights.b.t(), alpha=adapter.scale)
        matrices = self.stack.layers.get(name)
        if self.seating is not None and matrices is not None:
            self.seating.add(y, x, *matrices)


def mixture(stack: AdapterStack, adapters: Sequence[tuple[Named | None, int]]) -> Mixture | None:
    """For a stream of tokens: each adapter (None: the base) and how many tokens it has in turn.

    Single tokens go through the stack, but for those of adapters in training, whose weights change
    from step to step.
    """
    ranges: list[tuple[slice, Adapter]] = []
    singles: list[tuple[int, Named]] = []
    end = 0
    for named, num_tokens in adapters:
        start, end = end, end + num_tokens
        if named is None:
            continue
        if num_tokens == 1 and not named[1].flat.requires_grad:
            singles.append((start, named))
        else:
            ranges.append((slice(start, end), named[1]))
    if not singles:
        return Mixture(ranges, stack, None) if ranges else None
    return Mixture(ranges, stack, _seating(stack, singles))


def _run_of(positions: list[int], device: torch.device) -> slice | Tensor:
    """Views spare copies: a slice where the positions follow one another."""
    run = range(positions[0], positions[0] + len(positions))
    is_run = positions == list(run)
    return slice(run.start, run.stop) if is_run else torch.tensor(positions, device=device)


def _seating(stack: AdapterStack, singles: Sequence[tuple[int, Named]]) -> Seating:
    adapters = dict(named for _, named in singles)
    device = next(iter(adapters.values())).flat.device
    places = stack.place(adapters)
    first = min(own.start for own in places.values())
    last = max(own.stop for own in places.values())
    standing: list[list[int]] = [[] for _ in range(first, last)]
    for number, (_, (name, _)) in enumerate(singles):
        for place in places[name]:
            standing[place - first].append(number)
    tokens = _run_of([start for start, _ in singles], device)
    used = slice(first, last)
    if standing == [[number] for number in range(len(singles))]:
        return Seating(tokens, used, None, None, None)
    depth = max(map(len, standing))
    most = max(map(len, places.values()))
    source = [0] * (len(standing) * depth)
    found: list[list[int]] = [[] for _ in singles]
    for place, numbers in enumerate(standing):
        for row, number in enumerate(numbers):
            source[place * depth + row] = number
            found[number].append(place * depth + row)
    is_nothing = torch.tensor([[n >= len(of_it) for n in range(most)] for of_it in found])
    padded = [of_it + [0] * (most - len(of_it)) for of_it in found]
    return Seating(
        tokens,
        used,
        torch.tensor(source, device=device),
        torch.tensor(padded, device=device),
        is_nothing[..., None].to(device) if is_nothing.any() else None,
    )
