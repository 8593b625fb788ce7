"""Judges the two files of an adapter without loading them, and whether they fit a base model."""

import json
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from tunesmith.domain.adapters import (
    CONFIG_FILE,
    MAX_CONFIG_BYTES,
    WEIGHTS_FILE,
    AdapterLimits,
)
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidAdapter, TooLarge
from tunesmith.engine import peft_config
from tunesmith.engine.errors import BadAdapter
from tunesmith.services import tensor_headers
from tunesmith.services.tensor_headers import BadHeader, Tensor

MAX_ADAPTER_HEADER_BYTES = 16 * 1024 * 1024

_DTYPES = ("F64", "F32", "F16", "BF16")
_TRANSPOSED = ("gpt2", "openai-gpt")  # families whose linear layers are stored (in, out)
_NO_LAYERS = ("lm_head", "embed_out", "embed_tokens", "wte", "wpe")  # the engine adapts none
_LAYER_NUMBER = re.compile(r"(?:^|\.)([^.]+\.\d+\..+)$")

Modules = dict[str, dict[str, Tensor]]  # by module of the base model: lora_A and lora_B


def check(path: Path, name: str, limits: AdapterLimits) -> None:
    """One of the two by itself; raises `InvalidAdapter`."""
    if name == CONFIG_FILE:
        _read_config(path, limits)
    else:
        _read_modules(path, limits)


def check_pair(
    config_path: Path,
    weights_path: Path,
    base: BaseModel,
    other_bases: Collection[str],
    limits: AdapterLimits,
) -> None:
    """Both together, and with the base model as far as its files are here.

    `other_bases` are the names of all the other base models. Raises `InvalidAdapter`.
    """
    config = _read_config(config_path, limits)
    modules = _read_modules(weights_path, limits)
    for module, parts in modules.items():
        rank = parts[peft_config.A_SUFFIX].shape[0]
        if rank != config["r"]:
            raise InvalidAdapter(
                f"{module} has the rank {rank} in {WEIGHTS_FILE}, and {config['r']} in "
                f"{CONFIG_FILE}."
            )
    _check_names(config, base, other_bases)
    _check_layers(modules, base)


def _read_config(path: Path, limits: AdapterLimits) -> dict[str, Any]:
    if path.stat().st_size > MAX_CONFIG_BYTES:
        raise TooLarge(f"{CONFIG_FILE} has at most {MAX_CONFIG_BYTES:,} bytes.")
    try:
        config = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InvalidAdapter(f"{CONFIG_FILE} is not valid JSON.") from error
    try:
        rank = peft_config.check(config)
    except BadAdapter as error:
        raise InvalidAdapter(error.message) from error
    if "auto_map" in config:
        raise InvalidAdapter("`auto_map` names code, and none is run here; leave it out.")
    if "peft_type" not in config:
        raise InvalidAdapter(f'{CONFIG_FILE} must say "peft_type": "LORA".')
    if rank > limits.max_rank:
        raise InvalidAdapter(f"The rank `r` is {rank}; this server takes up to {limits.max_rank}.")
    if config.get("task_type") not in (None, "CAUSAL_LM"):
        raise InvalidAdapter("`task_type` must be CAUSAL_LM.")
    if not _is_number(config.get("lora_alpha", 8), 0, 1e6):
        raise InvalidAdapter("`lora_alpha` must be a positive number.")
    if not _is_number(config.get("lora_dropout", 0.0), -1e-9, 1):
        raise InvalidAdapter("`lora_dropout` must be a number from 0 to 1.")
    if not isinstance(config.get("use_rslora", False), bool):
        raise InvalidAdapter("`use_rslora` must be true or false.")
    return dict(config)


def _is_number(value: Any, above: float, most: float) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and above < value <= most


def _read_modules(path: Path, limits: AdapterLimits) -> Modules:
    try:
        tensors = tensor_headers.read(path, MAX_ADAPTER_HEADER_BYTES)
    except BadHeader as error:
        raise InvalidAdapter(f"{WEIGHTS_FILE} cannot be used: {error}.") from error
    modules: Modules = {}
    for key, tensor in tensors.items():
        try:
            module, part = peft_config.part_of(key)
        except BadAdapter as error:
            raise InvalidAdapter(error.message) from error
        if tensor.dtype not in _DTYPES:
            raise InvalidAdapter(f"{key} is of {tensor.dtype}; use one of {', '.join(_DTYPES)}.")
        modules.setdefault(module, {})[part] = tensor
    if not modules:
        raise InvalidAdapter(f"{WEIGHTS_FILE} holds no LoRA tensors.")
    for module, parts in modules.items():
        _check_parts(module, parts, limits)
    return modules


def _check_parts(module: str, parts: Mapping[str, Tensor], limits: AdapterLimits) -> None:
    if len(parts) != 2:
        raise InvalidAdapter(f"{WEIGHTS_FILE} lacks lora_A or lora_B of {module}.")
    a, b = parts[peft_config.A_SUFFIX].shape, parts[peft_config.B_SUFFIX].shape
    if len(a) != 2 or len(b) != 2 or a[0] != b[1] or 0 in (*a, *b):
        raise InvalidAdapter(
            f"lora_A of {module} has the shape {list(a)} and lora_B {list(b)}; they must be "
            "[r, inputs] and [outputs, r]."
        )
    if a[0] > limits.max_rank:
        raise InvalidAdapter(
            f"The rank of {module} is {a[0]}; this server takes up to {limits.max_rank}."
        )


def _check_names(config: dict[str, Any], base: BaseModel, other_bases: Collection[str]) -> None:
    """`base_model_name_or_path` is often a folder of whoever trained, and then says nothing."""
    named = config.get("base_model_name_or_path")
    if isinstance(named, str) and named in other_bases:
        raise InvalidAdapter(f"The adapter is for the base model {named!r}, not {base.name!r}.")
    kind, own = config.get("model_type"), _base_config(base).get("model_type")
    if kind is None or own is None:
        return
    if not isinstance(kind, str) or _family(kind) != _family(own):
        raise InvalidAdapter(f"`model_type` is {kind!r}; that of {base.name!r} is {own!r}.")


def _check_layers(modules: Modules, base: BaseModel) -> None:
    shapes = _base_shapes(base)
    if not shapes:
        return  # they are not on this machine; a worker will see
    config = _base_config(base)
    is_transposed = config.get("model_type") in _TRANSPOSED
    for module, parts in modules.items():
        found = [
            shape
            for name, shape in shapes.get(_place(module), ())
            if _is_same(module, name, is_nested="text_config" in config)
        ]
        if not found or module.rpartition(".")[2] in _NO_LAYERS:
            raise InvalidAdapter(f"The base model {base.name!r} has no layer {module} to adapt.")
        wanted = (parts[peft_config.B_SUFFIX].shape[0], parts[peft_config.A_SUFFIX].shape[1])
        sizes = [shape[::-1] if is_transposed else shape for shape in found]
        if wanted not in sizes:
            raise InvalidAdapter(
                f"{module} is made for {wanted[1]} inputs and {wanted[0]} outputs; that of "
                f"{base.name!r} has {_words(sizes[0])}."
            )


def _is_same(module: str, stored: str, *, is_nested: bool) -> bool:
    """Whether a module goes by this name in the files.

    They may leave out what comes before the layers (`transformer.`), and a decoder inside of
    something larger may have moved since they were written.
    """
    is_bare = stored == _place(stored)
    return is_nested or module == stored or (is_bare and module.endswith(f".{stored}"))


def _base_shapes(base: BaseModel) -> dict[str, list[tuple[str, tuple[int, ...]]]]:
    """Of all weights, with their module's name, by its place."""
    shapes: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for path in sorted(Path(base.folder).glob("*.safetensors")):
        try:
            tensors = tensor_headers.read(path)
        except (BadHeader, OSError):
            return {}
        for name, tensor in tensors.items():
            if name.endswith(".weight"):
                module = name.removesuffix(".weight")
                shapes.setdefault(_place(module), []).append((module, tensor.shape))
    return shapes


def _place(module: str) -> str:
    """From the numbered layer on."""
    found = _LAYER_NUMBER.search(module)
    return module if found is None else found[1]


def _base_config(base: BaseModel) -> dict[str, Any]:
    try:
        config = json.loads((Path(base.folder) / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) else {}


def _family(model_type: str) -> str:
    """Such as `gemma` of gemma, gemma2 and gemma3_text."""
    found = re.match(r"[a-z]+", model_type.lower())
    return model_type if found is None else found[0]


def _words(shape: tuple[int, ...]) -> str:
    if len(shape) != 2:
        return f"the shape {list(shape)}"
    return f"{shape[1]} inputs and {shape[0]} outputs"
