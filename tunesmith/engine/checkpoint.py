"""A run's state on disk: written whole or not at all, and read only when intact."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tunesmith.engine import peft_format
from tunesmith.engine.data import Dataset
from tunesmith.engine.errors import BadCheckpoint, DiskFull
from tunesmith.engine.examples import Pair
from tunesmith.engine.lora import Adapter
from tunesmith.engine.run import Run
from tunesmith.engine.snapshot import LossHistory, Snapshot
from tunesmith.engine.whole_model import WholeModel

MANIFEST_FILE = "manifest.json"
_MOMENTS_FILE = "optimizer.safetensors"
_STATE_FILE = "training_state.json"
_LAST_GOOD_FILE = "last_good.safetensors"
_REFERENCE = "reference_logprobs"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_UNKNOWN = (math.nan, math.nan)


def save_checkpoint(run: Run) -> Path:
    """A folder to go on from, and at the same time an adapter or a model that answers."""
    # A step that is done again gets a folder of its own: somebody may be reading the first.
    again = f"-again-{run.rollbacks}" if run.rollbacks else ""
    folder = run.spec.output_dir / "checkpoints" / f"step-{run.step}{again}"
    with written_whole(folder) as temporary:
        _save_weights(run, temporary, in_full=True)
        save_file(_optimizer_tensors(run), temporary / _MOMENTS_FILE)
        if run.last_good.step > 0:  # that one is at hand after a resume
            save_file(run.last_good.tensors, temporary / _LAST_GOOD_FILE)
        state = {
            "step": run.step,
            "trained_tokens": run.trained_tokens,
            "best_validation_loss": _finite(run.best_validation_loss),
            "evaluations_without_better": run.evaluations_without_better,
            "losses": asdict(run.losses),
            "micro_batch_tokens": run.micro_batch_tokens,
            "rollbacks": run.rollbacks,
            "spikes": run.spikes,
            "last_good": {
                "step": run.last_good.step,
                "trained_tokens": run.last_good.trained_tokens,
                "best_validation_loss": _finite(run.last_good.best_validation_loss),
                "evaluations_without_better": run.last_good.evaluations_without_better,
                "losses": asdict(run.last_good.losses),
            },
            "fingerprint": run.fingerprint,
        }
        (temporary / _STATE_FILE).write_text(json.dumps(state, indent=2) + "\n", encoding="utf-8")
    return folder


def save_result(run: Run) -> Path:
    """The adapter, or the whole model in the precision that the network computes in."""
    name = "model" if run.spec.trains_all_weights else "adapter"
    folder = run.spec.output_dir / name
    with written_whole(folder) as temporary:
        _save_weights(run, temporary, in_full=False)
    return folder


def _save_weights(run: Run, folder: Path, *, in_full: bool) -> None:
    if isinstance(run.trained, WholeModel):
        run.trained.save(folder, in_full=in_full)
    else:
        run.model.adapters.save(run.spec.run_id, folder)


def resume(run: Run, folder: Path) -> None:
    """Bring a freshly opened run to where the checkpoint was taken; raises BadCheckpoint."""
    check_manifest(folder)
    state: dict[str, Any] = json.loads((folder / _STATE_FILE).read_text(encoding="utf-8"))
    if state["fingerprint"] != run.fingerprint:
        raise BadCheckpoint(
            "The checkpoint is of another run: the data or the hyperparameters differ."
        )
    if isinstance(run.trained, WholeModel):
        run.trained.load(folder)
    else:
        _load_adapter(run.trained, folder)
    tensors = load_file(folder / _MOMENTS_FILE)
    run.generator.set_state(tensors.pop("generator"))
    if _REFERENCE in tensors:
        _recall_reference(run.training, tensors.pop(_REFERENCE))
    run.set_moments(tensors)
    run.step = state["step"]
    run.trained_tokens = state["trained_tokens"]
    run.best_validation_loss = _or_infinite(state["best_validation_loss"])
    run.evaluations_without_better = state["evaluations_without_better"]
    run.losses = _losses(state["losses"])
    run.micro_batch_tokens = min(run.micro_batch_tokens, state["micro_batch_tokens"])
    run.rollbacks, run.spikes = state["rollbacks"], state["spikes"]
    _recall_last_good(run, folder, state["last_good"])


def _load_adapter(adapter: Adapter, folder: Path) -> None:
    saved = peft_format.read(folder).weights
    if saved.keys() != adapter.layers.keys():
        raise BadCheckpoint("The checkpoint's adapter does not fit the base model.")
    with torch.no_grad():
        for name, layer in adapter.layers.items():
            layer.a.copy_(saved[name][0])
            layer.b.copy_(saved[name][1])
    adapter.round()


def _recall_last_good(run: Run, folder: Path, state: dict[str, Any]) -> None:
    """A run as it was opened has step 0 at hand."""
    if state["step"] > 0:
        run.last_good = Snapshot(
            step=state["step"],
            trained_tokens=state["trained_tokens"],
            losses=_losses(state["losses"]),
            best_validation_loss=_or_infinite(state["best_validation_loss"]),
            evaluations_without_better=state["evaluations_without_better"],
            tensors=load_file(folder / _LAST_GOOD_FILE),
        )


def _losses(state: dict[str, Any]) -> LossHistory:
    return LossHistory(**{**state, "recent": tuple(state["recent"])})


def _finite(loss: float) -> float | None:
    return loss if math.isfinite(loss) else None


def _or_infinite(loss: float | None) -> float:
    return math.inf if loss is None else loss


def _optimizer_tensors(run: Run) -> dict[str, torch.Tensor]:
    state = run.optimizer.state[run.trained.flat]
    moments = {key: tensor.cpu().contiguous() for key, tensor in state.items()}
    state = {**moments, "generator": run.generator.get_state()}
    if run.spec.method == "dpo":  # computed again beside other rows, they would differ in a bit
        met = (row.reference if isinstance(row, Pair) else None for row in run.training.rows_met)
        state[_REFERENCE] = torch.tensor([r or _UNKNOWN for r in met], dtype=torch.float32)
    return state


def _recall_reference(training: Dataset, logprobs: torch.Tensor) -> None:
    """`logprobs` is (pairs, 2), not a number where a pair had not been met yet."""
    for index, (chosen, rejected) in enumerate(logprobs.tolist()):
        if not math.isnan(chosen):
            row = training[index]
            assert isinstance(row, Pair)
            row.reference = (chosen, rejected)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yields a temporary sibling; on success it becomes `folder`, durable and with a manifest.

    Raises DiskFull, and leaves what was there.
    """
    temporary = folder.parent / f".{folder.name}.partial"
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        _finish(temporary, folder)
    except (OSError, SafetensorError) as error:
        if not _is_full_disk(error):
            raise
        shutil.rmtree(temporary, ignore_errors=True)
        raise DiskFull(f"The disk is full: {folder.name} could not be written.") from error


def _finish(temporary: Path, folder: Path) -> None:
    files = {path.name: _described(path) for path in sorted(temporary.iterdir())}
    manifest = json.dumps({"files": files}, indent=2) + "\n"
    (temporary / MANIFEST_FILE).write_text(manifest, encoding="utf-8")
    for path in [*temporary.iterdir(), temporary]:
        _sync(path)
    replaced = folder.parent / f".{folder.name}.replaced"
    if folder.exists():  # of an earlier attempt that got this far
        folder.rename(replaced)
    temporary.rename(folder)
    _sync(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _is_full_disk(error: OSError | SafetensorError) -> bool:
    """safetensors writes by itself, and tells of the system's error in words alone."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    return any(f"os error {number})" in str(error) for number in _FULL)


def check_manifest(folder: Path) -> None:
    """Raises BadCheckpoint unless every file is there, of its size and its hash."""
    try:
        manifest = json.loads((folder / MANIFEST_FILE).read_text(encoding="utf-8"))
        files: dict[str, dict[str, Any]] = manifest["files"]
    except (OSError, ValueError, KeyError) as error:
        raise BadCheckpoint(f"The checkpoint {folder.name} has no readable manifest.") from error
    for name, described in files.items():
        path = folder / Path(name).name
        if not path.is_file():
            raise BadCheckpoint(f"The checkpoint {folder.name} lacks {name}.")
        if _described(path) != described:
            raise BadCheckpoint(f"The file {name} of checkpoint {folder.name} was altered.")


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
