"""Reads what a folder of weights is, without loading any: for the base-model catalogue."""

import json
import math
import struct
from datetime import datetime
from pathlib import Path
from typing import Any

from tunesmith.domain.catalog import DEFAULT_LEARNING_RATE, BaseModel, WeightFile
from tunesmith.domain.errors import InvalidRequest

MAX_HEADER_BYTES = 100 * 1024 * 1024
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_DECODERS = ("CausalLM", "LMHeadModel", "ConditionalGeneration")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_DEFAULT_CONTEXT_TOKENS = 8192  # of models without positions, which could go on for ever
_NEEDED_SUFFIXES = (".json", ".safetensors", ".jinja", ".model", ".txt")


def describe(
    folder: Path,
    *,
    name: str,
    source: str,
    aliases: tuple[str, ...] = (),
    learning_rate: float = DEFAULT_LEARNING_RATE,
    now: datetime,
) -> BaseModel:
    """A catalogue entry for a Hugging Face model folder.

    Raises `InvalidRequest` where it is no decoder that can be loaded from safetensors alone.
    """
    config = _read_config(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if not weights:
        has_pickles = any(path.suffix in _PICKLES for path in folder.iterdir())
        raise InvalidRequest(
            f"{folder} has no *.safetensors file"
            + (", only pickled weights, which may run code; convert them." if has_pickles else ".")
        )
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")):
        raise InvalidRequest(f"{folder} has no tokenizer (tokenizer.json).")
    text_config = config.get("text_config", config)
    return BaseModel(
        name=name,
        aliases=aliases,
        folder=str(folder.resolve()),
        source=source,
        num_parameters=sum(_count_parameters(path) for path in weights),
        context_tokens=_context_tokens(text_config),
        learning_rate=learning_rate,
        files=tuple(
            WeightFile(name=path.name, size_bytes=path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.is_file() and path.suffix in _NEEDED_SUFFIXES
        ),
        created_at=now,
    )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InvalidRequest(f"{folder} is no model folder: it has no config.json.")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidRequest(f"{path} is not valid JSON.") from error
    if "auto_map" in config:
        raise InvalidRequest(
            f"{path} asks for code of its own (auto_map), which Tunesmith does not run."
        )
    architectures = config.get("architectures") or []
    is_decoder = any(a.endswith(_DECODERS) for a in architectures)
    if not is_decoder or config.get("is_encoder_decoder"):
        raise InvalidRequest(
            f"{folder} is not a decoder language model (architectures: {architectures})."
        )
    return dict(config)


def _context_tokens(config: dict[str, Any]) -> int:
    lengths = (config.get(key) for key in _CONTEXT_KEYS)
    return next((n for n in lengths if isinstance(n, int)), _DEFAULT_CONTEXT_TOKENS)


def _count_parameters(path: Path) -> int:
    """From the header: 8 bytes of length, then JSON (https://github.com/huggingface/safetensors)."""
    size = path.stat().st_size
    with path.open("rb") as file:
        prefix = file.read(8)
        length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else size
        if length > min(size - 8, MAX_HEADER_BYTES):
            raise InvalidRequest(f"{path} is not a safetensors file.")
        try:
            header = json.loads(file.read(length))
        except ValueError as error:
            raise InvalidRequest(f"{path} is not a safetensors file.") from error
    return sum(math.prod(t["shape"]) for k, t in header.items() if k != "__metadata__")
