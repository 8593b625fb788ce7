from pathlib import Path

import pytest
import torch

from tests.tiny_models import make_tiny_llama
from tunesmith.engine import precision
from tunesmith.engine.precision import dtype_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_tiny_llama(tmp_path / "model")


def test_what_is_asked_for_is_taken(folder: Path) -> None:
    assert dtype_for("fp32", "cuda", folder) == torch.float32
    assert dtype_for("bf16", "cpu", folder) == torch.bfloat16


def test_accelerators_compute_in_bf16(folder: Path) -> None:
    assert dtype_for("auto", "cuda", folder) == torch.bfloat16


@pytest.mark.parametrize("has_bf16", [True, False])
def test_a_cpu_that_has_bf16_uses_it_for_models_that_gain(
    has_bf16: bool, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "_cpu_computes_bf16", lambda: has_bf16)
    assert dtype_for("auto", "cpu", folder) == torch.float32
    monkeypatch.setattr(precision, "_MIN_PARAMETERS_ON_CPU", 10_000)
    assert dtype_for("auto", "cpu", folder) == (torch.bfloat16 if has_bf16 else torch.float32)
