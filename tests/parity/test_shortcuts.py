"""Each shortcut alone, and none, against plain transformers and PEFT on a padded batch."""

from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest

from tests.parity import rows
from tests.parity.rows import Row
from tests.parity.test_gradients import gradient_error
from tests.tiny_models import make_tiny_gpt2, make_tiny_llama, make_tiny_qwen3
from tunesmith.engine import attention
from tunesmith.engine.model import BaseModel
from tunesmith.engine.shortcuts import Shortcuts
from tunesmith.engine.spec import TrainSpec

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

NONE = Shortcuts(**{field.name: False for field in fields(Shortcuts)})
CHOICES = [NONE, *(replace(NONE, **{field.name: True}) for field in fields(Shortcuts))]


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
