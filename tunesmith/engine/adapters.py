"""The adapters beside one base model: made, loaded, saved, taken away, and sent through."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tunesmith.engine import peft_format
from tunesmith.engine.errors import AdapterNotLoaded, BadAdapter, UnsupportedModel
from tunesmith.engine.lora import (
    LINEAR_TYPES,
    Adapter,
    Addition,
    LoraLinear,
    LoraWeights,
    Route,
    features,
    narrowed,
)
from tunesmith.engine.mixture import AdapterStack, mixture
from tunesmith.engine.spec import ALL_LINEAR, LoraSpec


class AdapterSet:
    """All adapters that are loaded beside one base model."""

    def __init__(self, network: Any, base_model_name: str) -> None:
        self._network = network
        self._base_model_name = base_model_name
        linears = {n: m for n, m in network.named_modules() if isinstance(m, LINEAR_TYPES)}
        self._all_linear_names = list(linears)
        self._linears = _of_decoder(network, linears)
        self._wrapped: set[str] = set()
        self._adapters: dict[str, Adapter] = {}
        self._routes: list[Route] = []
        self._additions: list[Addition] = []
        self._stack = AdapterStack()

    def __len__(self) -> int:
        return len(self._adapters)

    def __contains__(self, adapter_id: object) -> bool:
        return adapter_id in self._adapters

    def __getitem__(self, adapter_id: str) -> Adapter:
        adapter = self._adapters.get(adapter_id)
        if adapter is None:
            raise AdapterNotLoaded(f"The adapter {adapter_id} is not loaded.")
        return adapter

    def create(self, adapter_id: str, lora: LoraSpec, seed: int) -> Adapter:
        """A fresh adapter to train: A as PEFT draws it, in layer order from `seed`; B zero."""
        names = self._resolve(lora.targets)
        if not names:
            raise UnsupportedModel("The model has no linear layers to put adapters beside.")
        generator = torch.Generator().manual_seed(seed % 2**63)
        weights = {}
        for name in names:
            num_in, num_out = features(self._linears[name])
            bound = 1 / math.sqrt(num_in)  # kaiming_uniform_ with a=sqrt(5)
            a = torch.empty(lora.rank, num_in).uniform_(-bound, bound, generator=generator)
            weights[name] = LoraWeights(a, torch.zeros(num_out, lora.rank))
        return self._add(adapter_id, lora, weights, is_trained=True)

    def load(self, adapter_id: str, folder: Path) -> Adapter:
        """Put a PEFT folder beside the base, ready to answer."""
        saved = peft_format.read(folder)
        return self._add(adapter_id, saved.lora, self._fitting(saved), is_trained=False)

    def load_to_train(self, adapter_id: str, folder: Path, *, dropout: float) -> Adapter:
        """The same, to be trained further: rank, alpha and layers are the folder's.

        The folder must say that it was made for this base: weights of another one may well fit.
        """
        saved = peft_format.read(folder)
        ours, theirs = (
            name.rpartition("/")[2] for name in (self._base_model_name, saved.base_model_name)
        )
        if ours != theirs:
            raise BadAdapter(f"The adapter was made for the base model {theirs}, not for {ours}.")
        lora = replace(saved.lora, dropout=dropout)
        return self._add(adapter_id, lora, self._fitting(saved), is_trained=True)

    def _fitting(self, saved: peft_format.PeftFolder) -> dict[str, LoraWeights]:
        """A folder's weights in the order of the base's layers; raises BadAdapter."""
        for name, (a, b) in saved.weights.items():
            linear = self._linears.get(name)
            if linear is None:
                raise BadAdapter(f"The base model has no linear layer named {name}.")
            num_in, num_out = features(linear)
            if a.shape[1] != num_in or b.shape[0] != num_out:
                raise BadAdapter(
                    f"The adapter's layer {name} is made for {a.shape[1]} inputs and {b.shape[0]} "
                    f"outputs; the base model's has {num_in} and {num_out}."
                )
        return {n: LoraWeights(*saved.weights[n]) for n in self._linears if n in saved.weights}

    def save(self, adapter_id: str, folder: Path) -> None:
        """Write a PEFT adapter's two files into an existing folder."""
        adapter = self[adapter_id]
        peft_format.write(
            folder,
            lora=adapter.lora,
            weights={name: (layer.a, layer.b) for name, layer in adapter.layers.items()},
            target_modules=self._shortest_targets(list(adapter.layers)),
            base_model_name=self._base_model_name,
            is_transposed=any(not isinstance(self._linears[n], nn.Linear) for n in adapter.layers),
        )

    def remove(self, adapter_id: str) -> None:
        """Take an adapter away; that it is not there is fine."""
        self._adapters.pop(adapter_id, None)
        self._stack.forget(adapter_id)

    @contextmanager
    def mixed(self, adapter_ids: Sequence[tuple[str | None, int]]) -> Iterator[None]:
        """Within this context, each adapter's (None: the base's) so many tokens follow in turn.

        For answers only: any number of adapters cost about as much as one.
        """
        named = [(None if i is None else (i, self[i]), count) for i, count in adapter_ids]
        mixed = mixture(self._stack, named)
        self._additions[:] = [] if mixed is None else [mixed]
        try:
            yield
        finally:
            self._additions.clear()

    @contextmanager
    def routed(self, routes: Sequence[Route]) -> Iterator[None]:
        """Within this context, forwards of the base model go through these adapters."""
        for route in routes:
            self[route.adapter_id]  # raises AdapterNotLoaded
        self._routes[:] = routes
        try:
            yield
        finally:
            self._routes.clear()

    @contextmanager
    def narrowed(self, positions: Sequence[int]) -> Iterator[None]:
        """Within `routed`: only these tokens, in ascending order, go through the layers now."""
        routes = list(self._routes)
        self._routes[:] = narrowed(routes, positions)
        try:
            yield
        finally:
            self._routes[:] = routes

    def _add(
        self,
        adapter_id: str,
        lora: LoraSpec,
        weights: dict[str, LoraWeights],
        *,
        is_trained: bool,
    ) -> Adapter:
        if adapter_id in self._adapters:
            raise BadAdapter(f"An adapter {adapter_id} is already loaded.")
        flat, layers = _flattened(weights, self._network.device, is_trained=is_trained)
        rounded_flat = flat.detach().to(self._network.dtype)
        self._adapters[adapter_id] = Adapter(
            lora=lora,
            flat=flat,
            layers=layers,
            rounded_flat=rounded_flat,
            rounded=_views(rounded_flat, weights),
        )
        for name in layers:
            self._wrap(name)
        return self._adapters[adapter_id]

    def _wrap(self, name: str) -> None:
        if name not in self._wrapped:
            layer = LoraLinear(
                self._linears[name], name, self._routes, self._adapters, self._additions
            )
            self._network.set_submodule(name, layer)
            self._wrapped.add(name)

    def _resolve(self, targets: tuple[str, ...]) -> list[str]:
        if targets == (ALL_LINEAR,):
            return list(self._linears)
        for target in targets:
            if not any(_is_target(name, target) for name in self._linears):
                raise BadAdapter(f"The base model has no linear layer named {target}.")
        return [name for name in self._linears if any(_is_target(name, t) for t in targets)]

    def _shortest_targets(self, names: list[str]) -> list[str]:
        """Last name parts where they select just these layers, as other tools expect; else all."""
        parts = sorted({name.rpartition(".")[2] for name in names})
        hit = [n for n in self._all_linear_names if any(_is_target(n, part) for part in parts)]
        return parts if hit == names else names


def _is_target(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _of_decoder(network: Any, linears: dict[str, Any]) -> dict[str, Any]:
    """Those of the decoder, in the model's own order: no output head, no eyes or ears."""
    inside = {id(module) for module in network.get_decoder().modules()}
    head = network.get_output_embeddings()
    return {n: m for n, m in linears.items() if id(m) in inside and m is not head}


def _flattened(
    weights: dict[str, LoraWeights], device: torch.device, *, is_trained: bool
) -> tuple[Tensor, dict[str, LoraWeights]]:
    """One buffer for all weights (and one for gradients): the optimizer then works on one tensor.

    Autograd adds into a gradient that is already there, so the views' sums land in `flat.grad`.
    """
    tensors = [t for layer in weights.values() for t in (layer.a, layer.b)]
    flat = torch.cat([t.detach().reshape(-1).float() for t in tensors]).to(device)
    layers = _views(flat, weights)
    if is_trained:
        flat.requires_grad_()
        flat.grad = torch.zeros_like(flat)
        gradients = _views(flat.grad, weights)
        for name, layer in layers.items():
            layer.a.requires_grad_().grad = gradients[name].a
            layer.b.requires_grad_().grad = gradients[name].b
    return flat, layers


def _views(flat: Tensor, like: dict[str, LoraWeights]) -> dict[str, LoraWeights]:
    """The buffer's parts in the shapes of these weights."""
    tensors = [t for layer in like.values() for t in (layer.a, layer.b)]
    parts = torch.split(flat.detach(), [t.numel() for t in tensors])
    views = [part.view(tensor.shape) for part, tensor in zip(parts, tensors, strict=True)]
    pairs = zip(views[::2], views[1::2], strict=True)
    return {name: LoraWeights(a, b) for name, (a, b) in zip(like, pairs, strict=True)}
