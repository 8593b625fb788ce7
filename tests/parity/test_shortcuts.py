"""Each shortcut alone, and none, against plain transformers and PEFT on a padded batch."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from tests.parity import rows
from tests.parity.rows import Row
from tests.parity.test_gradients import gradient_error
from tests.tiny_models import (
    make_tiny_gpt2,
    make_tiny_llama,
    make_tiny_qwen3,
)
from tunesmith.engine import attention
from tunesmith.engine.forward import predicted
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.shortcuts import Shortcuts
from tunesmith.engine.spec import TrainSpec

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

NONE = Shortcuts(**{field.name: False for field in fields(Shortcuts)})
CHOICES = [
    NONE,
    *(replace(NONE, **{field.name: True}) for field in fields(Shortcuts)),
    *(replace(Shortcuts(), **{field.name: False}) for field in fields(Shortcuts)),
]


@pytest.mark.parametrize("make_rows", [rows.with_shared_prefix, rows.with_several_turns])
@pytest.mark.parametrize("shortcuts", CHOICES)
def test_every_shortcut_is_exact(
    shortcuts: Shortcuts,
    make_rows: Callable[[int], list[Row]],
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    model = BaseModel.load(llama_folder)
    model.shortcuts = shortcuts
    error, loss_error, _ = gradient_error(model, llama_folder, new_spec(make_rows(6), batch_size=6))
    assert model.shortcuts == shortcuts
    assert error < 1e-6
    assert loss_error < 1e-6


@pytest.mark.parametrize(
    ("make_model", "expected"),
    [
        (make_tiny_llama, Shortcuts()),
        (make_tiny_qwen3, Shortcuts()),
        (make_tiny_gpt2, Shortcuts()),
    ],
)
def test_a_trial_finds_what_holds(
    make_model: Callable[[Path], Path],
    expected: Shortcuts,
    tmp_path: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    folder = make_model(tmp_path / "model")
    model = BaseModel.load(folder)
    gradient_error(model, folder, new_spec(rows.with_shared_prefix(4), batch_size=4))
    assert model.shortcuts == expected


def test_long_segments_beside_short_ones_are_exact(
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attention, "_MAX_SCORES", 2500)  # a shared prefix is longer than that
    error, _, _ = gradient_error(
        llama, llama_folder, new_spec(rows.with_several_turns(8), batch_size=8)
    )
    assert error < 1e-6


@pytest.mark.parametrize("make_model", [make_tiny_llama, make_tiny_qwen3])
def test_lean_layers_keep_less_for_the_backward(
    make_model: Callable[[Path], Path], tmp_path: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    model = BaseModel.load(make_model(tmp_path / "model"))
    run = open_run(model, new_spec(rows.without_shared_prefix(4), batch_size=4))
    [batch] = run.micro_batches(run.batch(1))
    kept = []
    for is_lean in (True, False):
        model.shortcuts = replace(model.shortcuts, lean_layers=is_lean)
        kept.append(_bytes_kept(model, run, batch))
    close_run(run)
    assert kept[0] < 0.9 * kept[1]


def _bytes_kept(model: BaseModel, run: Run, batch: PackedBatch) -> int:
    """By all that autograd holds on to, beside what was there before."""
    kept: list[Tensor] = []  # which keeps their places from being used again

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with model.adapters.routed([run.training_route]), saved_tensors_hooks(keep, lambda t: t):
        predicted(model, batch)
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in kept}
    fixed = {p.untyped_storage().data_ptr() for p in model.network.parameters()}
    return sum(size for place, size in storages.items() if place not in fixed)
