"""`job.lock`: everything that made a tuned model, as JSON beside its adapter.

Whoever trains again with the same of everything gets the same bytes. A checkpoint carries its lock,
so that an attempt which goes on from it, on another machine perhaps, adds to what was before.
"""

import hashlib
import json
import platform
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tunesmith.domain.assignments import Assignment
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.devices import Device
from tunesmith.domain.files import Artifact
from tunesmith.domain.jobs import MaskCertificate
from tunesmith.engine.messages import HostReady
from tunesmith.engine.spec import TrainSpec

LOCK_FILE = "job.lock"
FORMAT = 1
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_MODEL_FILES = ("config.json", "model*.safetensors")  # where all weights were trained
_PACKAGES = ("tunesmith", "torch", "transformers", "tokenizers", "safetensors")
# What the run is called, where its files lie, and what changes nothing of the result.
_NOT_RECIPE = (
    "run_id",
    "training_file",
    "validation_file",
    "output_dir",
    "initial_adapter",
    "resume_from",
    "evaluation_batch_steps",
    "checkpoint_every_seconds",
)
Digests = dict[str, str]  # a file's name -> its SHA-256


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an attempt computes with."""

    device: str  # as torch calls it
    device_name: str | None
    dtype: str
    threads: int
    versions: dict[str, str]


def machine_of(ready: HostReady, devices: Iterable[Device], threads: int) -> Machine:
    """A host has the packages of the worker that starts it."""
    kind = ready.device.partition(":")[0]
    names = [device.name for device in devices if device.kind.value == kind]
    return Machine(
        device=ready.device,
        device_name=names[0] if names else None,
        dtype=ready.dtype.removeprefix("torch."),
        threads=threads,
        versions={
            "python": platform.python_version(),
            **{package: version(package) for package in _PACKAGES},
        },
    )


class BaseDigests:
    """Of base models' files; each is read once, beside the training, as that may take a while."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str | None], Future[Digests]] = {}
        self._lock = threading.Lock()

    def begin(self, base: BaseModel, folder: Path) -> Future[Digests]:
        with self._lock:
            weights = (base.name, base.fingerprint)
            known = self._known.get(weights)
            if known is None or (known.done() and known.exception() is not None):
                known = self._known[weights] = Future()
                names = [f.name for f in base.files] + [a.name for a in base.artifacts]
                threading.Thread(
                    target=_digest_into, args=(known, folder, names), daemon=True
                ).start()
            return known


@dataclass(slots=True, kw_only=True)
class JobLock:
    """Of one attempt; `write` is asked for each checkpoint and for the result."""

    assignment: Assignment
    spec: TrainSpec
    machine: Machine
    base_digests: Future[Digests]
    base_folder: Path
    from_step: int = 0  # where the attempt began
    mask: MaskCertificate | None = None  # set as soon as all of the data is read
    before: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.before = _attempts_in(self.spec.resume_from)

    def write(self, folder: Path, step: int, *, was_accompanied: bool) -> None:
        """Beside the weights in a folder, of which nobody else knows yet."""
        attempt = {
            "from_step": self.from_step,
            "to_step": step,
            "shared_its_host": was_accompanied,
            **asdict(self.machine),
        }
        attempts = [*self.before, attempt]
        lock = {
            "format": FORMAT,
            "base_model": self._base_model(),
            "data": self._data(),
            "recipe": _recipe(self.spec),
            "was_alone": not any(each["shared_its_host"] for each in attempts),
            "attempts": attempts,
            "result": {
                path.name: _sha256(path)
                for pattern in (*_ADAPTER_FILES, *_MODEL_FILES)
                for path in sorted(folder.glob(pattern))
            },
        }
        (folder / LOCK_FILE).write_text(json.dumps(lock, indent=2) + "\n", encoding="utf-8")

    def _base_model(self) -> dict[str, Any]:
        base, files = self.assignment.base_model, self.base_digests.result()
        return {
            "name": base.name,
            "source": base.source,
            "quantization": base.quantization,
            "files": files,
            "tokenizer_sha256": files.get("tokenizer.json"),
            "chat_template_sha256": _template_sha256(self.base_folder),
        }

    def _data(self) -> dict[str, Any]:
        its = self.assignment
        return {
            "training_sha256": its.training_file.sha256,
            "validation_sha256": its.validation_file.sha256 if its.validation_file else None,
            "mask_sha256": self.mask and self.mask.sha256,
            "initial_adapter": _digests_of(its.initial_adapter),
        }


def _recipe(spec: TrainSpec) -> dict[str, Any]:
    return {name: value for name, value in asdict(spec).items() if name not in _NOT_RECIPE}


def _digests_of(artifacts: Iterable[Artifact]) -> Digests:
    return {a.name: a.blob.sha256 for a in artifacts if a.name in _ADAPTER_FILES}


def _attempts_in(checkpoint: Path | None) -> list[dict[str, Any]]:
    """None of a fresh start, or of a checkpoint from before there were locks."""
    if checkpoint is None or not (checkpoint / LOCK_FILE).is_file():
        return []
    lock = json.loads((checkpoint / LOCK_FILE).read_text(encoding="utf-8"))
    attempts: list[dict[str, Any]] = lock["attempts"]
    return attempts


def _template_sha256(folder: Path) -> str | None:
    """Of the chat template's text, wherever it is; None where there is none."""
    of_its_own, config = folder / "chat_template.jinja", folder / "tokenizer_config.json"
    if of_its_own.is_file():
        return _sha256(of_its_own)
    if not config.is_file():
        return None
    template = json.loads(config.read_text(encoding="utf-8")).get("chat_template")
    if template is None:
        return None
    return hashlib.sha256(json.dumps(template).encode()).hexdigest()


def _digest_into(digests: Future[Digests], folder: Path, names: Iterable[str]) -> None:
    try:
        digests.set_result({name: _sha256(folder / name) for name in names})
    except OSError as error:
        digests.set_exception(error)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
