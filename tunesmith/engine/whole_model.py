"""All weights of a base model in training: fp32 masters in one buffer, which the network follows.

There is one such run to a host: nobody else can use a base whose weights change.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, GenerationConfig

from tunesmith.engine.errors import BadCheckpoint

_TOKENIZER_SUFFIXES = (".json", ".jinja", ".model", ".txt")
# Of the base's folder; the first is written anew, the others are of other folders' making.
_NOT_COPIED = ("config.json", "manifest.json", "training_state.json")


class WholeModel:
    """`flat` holds all weights in fp32, each once however many layers share it.

    Where the network computes in fp32 too, its weights are views of `flat`, and their gradients of
    `flat.grad`. Else they are rounded copies, and each gradient is added up in fp32 and forgotten.
    """

    def __init__(self, network: Any, folder: Path, *, remembers_start: bool) -> None:
        """`folder` is the base's. With `remembers_start` the first weights are kept, as a copy."""
        self._network = network
        self._folder = folder
        self._names = [name for name, _ in network.named_parameters()]
        self._parameters: list[nn.Parameter] = list(network.parameters())
        self._start = [p.detach().clone() for p in self._parameters] if remembers_start else None
        count = sum(parameter.numel() for parameter in self._parameters)
        self.flat = torch.empty(count, device=network.device)
        self.flat.grad = torch.zeros_like(self.flat)
        self._masters = self._views(self.flat)
        gradients = self._views(self.flat.grad)
        for parameter, master, gradient in zip(
            self._parameters, self._masters, gradients, strict=True
        ):
            master.copy_(parameter.detach())
            _follow(parameter, master, gradient)

    def round(self) -> None:
        """To be called whenever `flat` has changed."""
        for parameter, master in zip(self._parameters, self._masters, strict=True):
            if parameter.dtype != master.dtype:
                parameter.data.copy_(master)

    @contextmanager
    def as_at_start(self) -> Iterator[None]:
        """Within this context the network has the weights that it was loaded with."""
        assert self._start is not None
        now = [parameter.data for parameter in self._parameters]
        self._put(self._start)
        try:
            yield
        finally:
            self._put(now)

    def save(self, folder: Path, *, in_full: bool) -> None:
        """A model folder in an existing one: with the masters `in_full`, or as the network is."""
        weights: dict[str, Tensor] = dict(self._network.state_dict())
        if in_full:
            masters = dict(zip(map(id, self._parameters), self._masters, strict=True))
            named = self._network.named_parameters(remove_duplicate=False)
            weights |= {name: masters[id(parameter)] for name, parameter in named}
        with _plain_generation_config(self._network):
            self._network.save_pretrained(folder, state_dict=weights)
        (folder / "generation_config.json").unlink(missing_ok=True)
        for path in sorted(self._folder.iterdir()):
            if _goes_along(path):
                shutil.copyfile(path, folder / path.name)

    def load(self, folder: Path) -> None:
        """The masters of a folder that was saved in full; raises BadCheckpoint."""
        try:
            saved = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=torch.float32,
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise BadCheckpoint(f"The checkpoint's model cannot be read: {error}") from error
        there = dict(saved.named_parameters())
        if [*there] != self._names:
            raise BadCheckpoint("The checkpoint's model does not fit the base model.")
        for name, master in zip(self._names, self._masters, strict=True):
            master.copy_(there[name].detach())
        self.round()

    def _views(self, flat: Tensor) -> list[Tensor]:
        parts = torch.split(flat.detach(), [parameter.numel() for parameter in self._parameters])
        return [part.view(p.shape) for part, p in zip(parts, self._parameters, strict=True)]

    def _put(self, weights: list[Tensor]) -> None:
        for parameter, weight in zip(self._parameters, weights, strict=True):
            parameter.data = weight


def _follow(parameter: nn.Parameter, master: Tensor, gradient: Tensor) -> None:
    parameter.requires_grad_()
    if parameter.dtype == master.dtype:
        parameter.data = master
        parameter.grad = gradient
        return

    def add_up(parameter: Tensor) -> None:
        gradient.add_(parameter.grad)  # type: ignore[arg-type]
        parameter.grad = None

    parameter.register_post_accumulate_grad_hook(add_up)  # type: ignore[no-untyped-call]


@contextmanager
def _plain_generation_config(network: Any) -> Iterator[None]:
    """Some makers' own is refused when it is to be saved; their file is copied instead."""
    own = network.generation_config
    network.generation_config = GenerationConfig()
    try:
        yield
    finally:
        network.generation_config = own


def _goes_along(path: Path) -> bool:
    """Tokenizer, chat template, how to generate, licence: whatever is not the weights."""
    is_other = path.name in _NOT_COPIED or path.name.endswith(".safetensors.index.json")
    return path.is_file() and path.suffix in _TOKENIZER_SUFFIXES and not is_other
