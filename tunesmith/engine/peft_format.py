"""PEFT's adapter folder, read with suspicion and written so that stock PEFT takes it."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from tunesmith.engine import peft_config
from tunesmith.engine.errors import BadAdapter
from tunesmith.engine.peft_config import A_SUFFIX, B_SUFFIX, CONFIG_FILE, KEY_PREFIX, WEIGHTS_FILE
from tunesmith.engine.spec import LoraSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftFolder:
    lora: LoraSpec
    base_model_name: str  # as the folder spells it; empty where it does not say
    weights: dict[str, tuple[Tensor, Tensor]]  # module name -> A (rank, in), B (out, rank)


def read(folder: Path) -> PeftFolder:
    """Raises BadAdapter for anything but plain LoRA in safetensors."""
    config = _read_config(folder)
    rank = peft_config.check(config)
    weights = _paired(_read_weights(folder))
    for name, (a, b) in weights.items():
        if a.ndim != 2 or b.ndim != 2 or a.shape[0] != rank or b.shape[1] != rank:
            raise BadAdapter(f"The tensors of {name} do not have the rank {rank} of {CONFIG_FILE}.")
        if not (torch.isfinite(a).all() and torch.isfinite(b).all()):
            raise BadAdapter(f"The tensors of {name} hold values that are not finite.")
    lora = LoraSpec(
        rank=rank,
        alpha=float(config.get("lora_alpha", 8)),
        dropout=float(config.get("lora_dropout", 0.0)),
        targets=tuple(sorted({name.rpartition(".")[2] for name in weights})),
        use_rslora=bool(config.get("use_rslora")),
    )
    return PeftFolder(
        lora=lora,
        base_model_name=str(config.get("base_model_name_or_path") or ""),
        weights=weights,
    )


def write(
    folder: Path,
    *,
    lora: LoraSpec,
    weights: dict[str, tuple[Tensor, Tensor]],
    target_modules: list[str],
    base_model_name: str,
    is_transposed: bool,
) -> None:
    """`is_transposed` says how the base stores its weights; A and B look the same either way."""
    alpha = int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha
    config = {
        "base_model_name_or_path": base_model_name,
        "bias": "none",
        "fan_in_fan_out": is_transposed,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": lora.dropout,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": lora.rank,
        "target_modules": target_modules,
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": lora.use_rslora,
    }
    (folder / CONFIG_FILE).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    tensors = {}
    for name, (a, b) in weights.items():
        tensors[f"{KEY_PREFIX}{name}{A_SUFFIX}"] = a.detach().cpu().contiguous()
        tensors[f"{KEY_PREFIX}{name}{B_SUFFIX}"] = b.detach().cpu().contiguous()
    save_file(tensors, folder / WEIGHTS_FILE, metadata={"format": "pt"})


def sha256(folder: Path) -> str:
    """Of all that decides what the adapter does."""
    digest = hashlib.sha256()
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def _read_config(folder: Path) -> Any:
    path = folder / CONFIG_FILE
    if not path.is_file():
        raise BadAdapter(f"The adapter folder has no {CONFIG_FILE}.")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise BadAdapter(f"{CONFIG_FILE} is not valid JSON: {error}.") from error
    return config


def _read_weights(folder: Path) -> dict[str, Tensor]:
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        if any(folder.glob("*.bin")) or any(folder.glob("*.pt")):
            raise BadAdapter(
                f"Adapter weights must be safetensors ({WEIGHTS_FILE}); pickled weights can run "
                "code when they are opened and are refused."
            )
        raise BadAdapter(f"The adapter folder has no {WEIGHTS_FILE}.")
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (SafetensorError, ValueError) as error:
        raise BadAdapter(f"{WEIGHTS_FILE} cannot be read: {error}.") from error
    return tensors


def _paired(tensors: dict[str, Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    by_module: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, suffix = peft_config.part_of(key)
        by_module.setdefault(name, {})[suffix] = tensor
    for name, pair in by_module.items():
        if len(pair) != 2:
            raise BadAdapter(f"{WEIGHTS_FILE} lacks lora_A or lora_B of {name}.")
    if not by_module:
        raise BadAdapter(f"{WEIGHTS_FILE} holds no LoRA tensors.")
    return {name: (pair[A_SUFFIX], pair[B_SUFFIX]) for name, pair in by_module.items()}
