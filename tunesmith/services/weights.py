"""Reads what a folder of weights is, without loading any: for the base-model catalogue."""

import hashlib
import json
import math
import struct
from collections.abc import Collection, Iterable
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from tunesmith.domain.catalog import (
    DEFAULT_LEARNING_RATE,
    TASKS,
    BaseModel,
    KnownModel,
    Quantization,
    WeightFile,
)
from tunesmith.domain.errors import InvalidRequest

MAX_HEADER_BYTES = 100 * 1024 * 1024
_READ_WHOLE_BYTES = 64 * 1024 * 1024  # tokenizers are smaller; weights are larger
_READ_ENDS_BYTES = 1024 * 1024
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")
_DECODERS = ("CausalLM", "LMHeadModel", "ConditionalGeneration")
_CONTEXT_KEYS = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
_DEFAULT_CONTEXT_TOKENS = 8192  # of models without positions, which could go on for ever
_WEIGHTS = "model.safetensors"
_NEEDED_SUFFIXES = (".json", ".safetensors", ".jinja", ".model", ".txt")


class State(StrEnum):
    """What has become of a catalogue entry's files since it was made."""

    PRESENT = "present"
    CHANGED = "changed"
    MISSING = "missing"


def describe(
    folder: Path,
    *,
    name: str,
    source: str,
    aliases: tuple[str, ...] = (),
    learning_rate: float = DEFAULT_LEARNING_RATE,
    hub_id: str | None = None,
    known: KnownModel | None = None,
    quantization: Quantization | None = None,
    now: datetime,
) -> BaseModel:
    """A catalogue entry for a Hugging Face model folder, which may be of a `known` model.

    Raises `InvalidRequest` where it is no decoder that can be loaded from safetensors alone, or
    not the one that it is said to be.
    """
    config = _read_config(folder)
    if known is None and "auto_map" in config:
        raise InvalidRequest(
            f"{folder / 'config.json'} asks for code of its own (auto_map), which Tunesmith does "
            "not run."
        )
    weights = _weight_files(folder)
    if not weights:
        has_pickles = any(path.suffix in _PICKLES for path in folder.iterdir())
        raise InvalidRequest(
            f"{folder} has no *.safetensors file"
            + (", only pickled weights, which may run code; convert them." if has_pickles else ".")
        )
    if not any((folder / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json")):
        raise InvalidRequest(f"{folder} has no tokenizer (tokenizer.json).")
    num_parameters = sum(_count_parameters(path) for path in weights)
    if known is not None and not known.fits(num_parameters):
        raise InvalidRequest(
            f"{folder} has {num_parameters:,} parameters, and {known.name} has "
            f"{known.num_parameters:,}: it is another model. Give it another name."
        )
    files = tuple(_needed_files(folder, weights))
    return BaseModel(
        name=name,
        aliases=aliases,
        folder=str(folder.resolve()),
        source=source,
        num_parameters=num_parameters,
        context_tokens=_context_tokens(config.get("text_config", config)),
        learning_rate=learning_rate,
        files=files,
        created_at=now,
        fingerprint=_fingerprint(folder, files),
        hub_id=known.hub_id if known else hub_id,
        display_name=known.display_name if known else None,
        provider=known.provider if known else None,
        licence=known.licence if known else None,
        nominal_size=known.size if known else None,
        tasks=known.tasks if known else TASKS,
        calls_functions="tools" in _chat_template(folder),
        quantization=quantization,
    )


def context_tokens(folder: Path) -> int:
    """How long a text a model's positions allow; `InvalidRequest` where it is no model's folder."""
    config = _read_config(folder)
    return _context_tokens(config.get("text_config", config))


def state_of(model: BaseModel) -> State:
    """Weights that are changed in the middle alone, sizes kept, are taken for the same."""
    folder = Path(model.folder)
    if not folder.is_dir():
        return State.MISSING
    try:
        sizes_differ = any(
            (folder / file.name).stat().st_size != file.size_bytes for file in model.files
        )
        is_other = sizes_differ or (
            model.fingerprint is not None and _fingerprint(folder, model.files) != model.fingerprint
        )
    except OSError:
        return State.MISSING
    return State.CHANGED if is_other else State.PRESENT


def _weight_files(folder: Path) -> list[Path]:
    """Those that transformers would read: the same weights may lie there in another form, too."""
    index, single = folder / f"{_WEIGHTS}.index.json", folder / _WEIGHTS
    if index.is_file():
        try:
            named = sorted(set(json.loads(index.read_text())["weight_map"].values()))
            weights = [folder / Path(name).name for name in named]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise InvalidRequest(f"{index} does not say which files there are.") from error
        missing = [path.name for path in weights if not path.is_file()]
        if missing:
            raise InvalidRequest(f"{folder} lacks {missing[0]}, which {index.name} names.")
        return weights
    return [single] if single.is_file() else sorted(folder.glob("*.safetensors"))


def _needed_files(folder: Path, weights: Collection[Path]) -> Iterable[WeightFile]:
    for path in sorted(folder.iterdir()):
        is_other_form = path.suffix == ".safetensors" and path not in weights
        if path.is_file() and path.suffix in _NEEDED_SUFFIXES and not is_other_form:
            yield WeightFile(name=path.name, size_bytes=path.stat().st_size)


def _fingerprint(folder: Path, files: Iterable[WeightFile]) -> str:
    """Of small files the whole counts, of large ones the first and the last megabyte."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name} {file.size_bytes}\n".encode())
        with (folder / file.name).open("rb") as stream:
            if file.size_bytes <= _READ_WHOLE_BYTES:
                digest.update(stream.read(_READ_WHOLE_BYTES))
                continue
            digest.update(stream.read(_READ_ENDS_BYTES))
            stream.seek(-_READ_ENDS_BYTES, 2)
            digest.update(stream.read())
    return digest.hexdigest()


def _chat_template(folder: Path) -> str:
    """As text, wherever it is; empty where there is none."""
    of_its_own = folder / "chat_template.jinja"
    if of_its_own.is_file():
        return of_its_own.read_text(errors="replace")
    try:
        config = json.loads((folder / "tokenizer_config.json").read_text())
    except (OSError, ValueError):
        return ""
    return str(config.get("chat_template", "")) if isinstance(config, dict) else ""


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InvalidRequest(f"{folder} is no model folder: it has no config.json.")
    try:
        config = json.loads(path.read_text())
    except ValueError as error:
        raise InvalidRequest(f"{path} is not valid JSON.") from error
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
