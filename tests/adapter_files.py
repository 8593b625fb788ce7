"""The two files of a LoRA adapter, written by hand: good ones, and what tests make of them."""

import json
import math
import struct
from typing import Any

Q_PROJ = "model.layers.0.self_attn.q_proj"
K_PROJ = "model.layers.0.self_attn.k_proj"
TINY_LAYERS = {Q_PROJ: (256, 256), K_PROJ: (128, 256)}  # of tunesmith-tiny: outputs, inputs

Entry = tuple[str, list[int]]


def config(rank: int = 4, **changes: Any) -> bytes:
    made = {
        "base_model_name_or_path": "/home/somebody/tiny",
        "bias": "none",
        "lora_alpha": 8,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": ["q_proj", "k_proj"],
        "task_type": "CAUSAL_LM",
    }
    return json.dumps({**made, **changes}).encode()


def lora_tensors(
    rank: int = 4, layers: dict[str, tuple[int, int]] = TINY_LAYERS, dtype: str = "F32"
) -> dict[str, Entry]:
    tensors = {}
    for module, (num_out, num_in) in layers.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = (dtype, [rank, num_in])
        tensors[f"base_model.model.{module}.lora_B.weight"] = (dtype, [num_out, rank])
    return tensors


def weights(rank: int = 4, fill: bytes = b"\0", **changes: Any) -> bytes:
    """Whole safetensors; `fill` is what each byte of the tensors is."""
    return safetensors(lora_tensors(rank, **changes), fill)


def safetensors(tensors: dict[str, Entry], fill: bytes = b"\0") -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, (dtype, shape) in tensors.items():
        start, end = end, end + math.prod(shape) * {"F32": 4, "BF16": 2, "I8": 1}[dtype]
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    return with_header(header, fill * end)


def with_header(header: Any, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data
