"""What is judged without loading is judged as the engine does, which loads it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import tiny_models
from tests.factories import base_model
from tunesmith.domain.adapters import CONFIG_FILE, WEIGHTS_FILE, AdapterLimits
from tunesmith.domain.errors import InvalidAdapter
from tunesmith.engine.errors import BadAdapter
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec
from tunesmith.services import adapter_files

FAMILIES = [
    tiny_models.make_tiny_llama,
    tiny_models.make_tiny_qwen3,
    tiny_models.make_tiny_mistral,
    tiny_models.make_tiny_gemma2,
    tiny_models.make_tiny_gemma3,
    tiny_models.make_tiny_gpt2,
    tiny_models.make_tiny_lfm2,
]


@pytest.mark.parametrize("make", FAMILIES)
def test_what_the_engine_saves_is_taken(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "base")
    saved = save_fresh(folder, tmp_path / "adapter")
    judge(saved, folder)


@pytest.mark.parametrize("other", FAMILIES[1:])
def test_an_adapter_of_another_family_is_refused_by_both_or_by_neither(
    other: Callable[[Path], Path], tmp_path: Path
) -> None:
    saved = save_fresh(FAMILIES[0](tmp_path / "llama"), tmp_path / "adapter")
    folder = other(tmp_path / "other")
    try:
        BaseModel.load(folder).adapters.load("theirs", saved)
    except BadAdapter:
        with pytest.raises(InvalidAdapter):
            judge(saved, folder)
    else:
        judge(saved, folder)


def save_fresh(base: Path, folder: Path) -> Path:
    model = BaseModel.load(base)
    model.adapters.create("fresh", LoraSpec(rank=4), seed=1)
    folder.mkdir()
    model.adapters.save("fresh", folder)
    return folder


def judge(adapter: Path, base: Path) -> None:
    limits = AdapterLimits()
    model = base_model(folder=str(base))
    adapter_files.check_pair(adapter / CONFIG_FILE, adapter / WEIGHTS_FILE, model, (), limits)
