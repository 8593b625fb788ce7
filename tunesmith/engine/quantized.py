"""Base weights in 4 bits (NF4: Dettmers et al. 2023, arXiv 2305.14314), through bitsandbytes.

The decoder's linear layers hold packed weights, which are unpacked for each product; embeddings,
norms and the output head stay as they are. Adapters beside them are trained as ever.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from tunesmith.engine.errors import UnsupportedModel

Quantization = Literal["nf4"]
_DEVICES = ("cuda",)  # elsewhere unpacking takes longer than the memory is worth


def check(device: str) -> None:
    """Raises UnsupportedModel where the weights cannot be packed."""
    if device.partition(":")[0] not in _DEVICES:
        raise UnsupportedModel(
            f"Weights in 4 bits need a CUDA device, and this host computes on {device}. Add the "
            "model under another name, without --quantize."
        )
    if find_spec("bitsandbytes") is None:
        raise UnsupportedModel(
            "Weights in 4 bits need bitsandbytes on the machine that trains: install "
            "tunesmith[quantized] there."
        )


class PackedLinear(nn.Linear):
    """`weight` is bitsandbytes' Params4bit."""

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_cuda:
            return linear(x, dense(self.weight, x.dtype), self.bias)
        functions = import_module("bitsandbytes")
        weight: Any = self.weight
        y: Tensor = functions.matmul_4bit(
            x, weight.t(), bias=self.bias, quant_state=weight.quant_state
        )
        return y


def put_in(network: Any, device: str) -> None:
    """Pack the weights of a network that is still on the CPU, layer by layer, onto its device."""
    decoder = {id(module) for module in network.get_decoder().modules()}
    linears = [(n, m) for n, m in network.named_modules() if type(m) is nn.Linear]
    inside = [(name, module) for name, module in linears if id(module) in decoder]
    if not inside:
        raise UnsupportedModel("The model has no linear layers whose weights could be packed.")
    for name, module in inside:
        network.set_submodule(name, _packed(module, device))


def _packed(layer: nn.Linear, device: str) -> PackedLinear:
    packed = PackedLinear(layer.in_features, layer.out_features, bias=False, device="meta")
    parameter = import_module("bitsandbytes.nn").Params4bit
    weight = parameter(layer.weight.data, requires_grad=False, quant_type="nf4")
    packed.weight = weight.to(device)
    packed.bias = layer.bias
    return packed


def dense(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """The weight as it is multiplied with: unpacked, where it is packed."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight
    functions = import_module("bitsandbytes.functional")
    unpacked: Tensor = functions.dequantize_4bit(weight.data, state)
    return unpacked.to(dtype)
