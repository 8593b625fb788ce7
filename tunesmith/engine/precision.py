"""In which precision a base model's weights are held; adapters and optimizers are always fp32."""

from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open

Precision = Literal["auto", "fp32", "bf16"]

# A line between tunesmith-tiny, which stays as it was, and the smallest that was measured to gain
# (docs/log.md).
_MIN_PARAMETERS_ON_CPU = 16_000_000


def dtype_for(precision: Precision, device: str, folder: Path) -> torch.dtype:
    """The same on every start on the same machine: a run that is resumed must go on as it was."""
    if precision != "auto":
        return torch.bfloat16 if precision == "bf16" else torch.float32
    if device != "cpu":
        return torch.bfloat16
    is_worthwhile = _num_parameters(folder) >= _MIN_PARAMETERS_ON_CPU
    return torch.bfloat16 if is_worthwhile and _cpu_computes_bf16() else torch.float32


def _cpu_computes_bf16() -> bool:
    """In hardware: where it is emulated, bf16 is far slower than fp32."""
    supported: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return supported


def _num_parameters(folder: Path) -> int:
    total = 0
    for file in folder.glob("*.safetensors"):
        with safe_open(file, "pt") as weights:
            total += sum(_size(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
    return total


def _size(shape: list[int]) -> int:
    return int(torch.Size(shape).numel())
