import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from tunesmith.engine import peft_format
from tunesmith.engine.errors import AdapterNotLoaded, BadAdapter
from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec


@pytest.fixture
def saved(llama: BaseModel, tmp_path: Path) -> Path:
    """An adapter folder that fits the base."""
    llama.adapters.create("fresh", LoraSpec(rank=4, alpha=8), seed=1)
    folder = tmp_path / "adapter"
    folder.mkdir()
    llama.adapters.save("fresh", folder)
    llama.adapters.remove("fresh")
    return folder


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / peft_format.CONFIG_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def change_weights(folder: Path, change: Any) -> None:
    path = folder / peft_format.WEIGHTS_FILE
    tensors = load_file(path)
    save_file(change(tensors), path)


def test_the_same_seed_gives_the_same_bytes(llama: BaseModel) -> None:
    flats = []
    for adapter_id, seed in (("a", 1), ("b", 1), ("c", 2)):
        flats.append(llama.adapters.create(adapter_id, LoraSpec(rank=4), seed).flat)
    assert torch.equal(flats[0], flats[1])
    assert not torch.equal(flats[0], flats[2])


def test_a_fresh_adapter_changes_nothing_yet(llama: BaseModel) -> None:
    token_ids = torch.arange(10, 30)[None]
    before = llama.network(token_ids).logits
    llama.adapters.create("fresh", LoraSpec(rank=4), seed=1)
    with llama.adapters.routed([Route(adapter_id="fresh")]):
        assert torch.equal(llama.network(token_ids).logits, before)


def test_adapters_are_saved_with_short_target_names(saved: Path) -> None:
    config = json.loads((saved / peft_format.CONFIG_FILE).read_text())
    assert config["target_modules"] == [
        "down_proj",
        "gate_proj",
        "k_proj",
        "o_proj",
        "q_proj",
        "up_proj",
        "v_proj",
    ]
    assert config["r"] == 4
    assert config["lora_alpha"] == 8
    keys = load_file(saved / peft_format.WEIGHTS_FILE)
    assert "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight" in keys


def test_an_adapter_saved_and_loaded_is_the_same(llama: BaseModel, saved: Path) -> None:
    loaded = llama.adapters.load("loaded", saved)
    fresh = llama.adapters.create("again", LoraSpec(rank=4, alpha=8), seed=1)
    assert torch.equal(loaded.flat, fresh.flat)
    assert loaded.scale == fresh.scale == 2


def test_an_rslora_adapter_is_made_and_kept_as_one(llama: BaseModel, tmp_path: Path) -> None:
    lora = LoraSpec(rank=4, alpha=8, use_rslora=True)
    assert llama.adapters.create("fresh", lora, seed=1).scale == 4  # 8 / sqrt(4)
    llama.adapters.save("fresh", tmp_path)
    assert json.loads((tmp_path / peft_format.CONFIG_FILE).read_text())["use_rslora"] is True
    loaded = llama.adapters.load_to_train("loaded", tmp_path, dropout=0.1)
    assert loaded.scale == 4


def test_an_unknown_target_is_refused(llama: BaseModel) -> None:
    with pytest.raises(BadAdapter, match="no linear layer named qkv"):
        llama.adapters.create("a", LoraSpec(targets=("q_proj", "qkv")), seed=1)


def test_a_route_to_nowhere_is_refused(llama: BaseModel) -> None:
    with pytest.raises(AdapterNotLoaded), llama.adapters.routed([Route(adapter_id="nobody")]):
        pass


@pytest.mark.parametrize(
    "changes",
    [
        {"use_dora": True},
        {"bias": "all"},
        {"modules_to_save": ["lm_head"]},
        {"rank_pattern": {"q_proj": 2}},
        {"peft_type": "IA3"},
        {"r": 8},
        {"r": "4"},
    ],
)
def test_what_is_not_plain_lora_is_refused_by_name(
    changes: dict[str, Any], llama: BaseModel, saved: Path
) -> None:
    change_config(saved, **changes)
    with pytest.raises(BadAdapter):
        llama.adapters.load("loaded", saved)


def test_pickled_weights_are_refused(llama: BaseModel, saved: Path) -> None:
    (saved / peft_format.WEIGHTS_FILE).rename(saved / "adapter_model.bin")
    with pytest.raises(BadAdapter, match="pickled"):
        llama.adapters.load("loaded", saved)


def test_an_adapter_for_another_base_is_refused(llama: BaseModel, saved: Path) -> None:
    change_weights(saved, lambda t: {k.replace("layers.1", "layers.7"): v for k, v in t.items()})
    with pytest.raises(BadAdapter, match=r"no linear layer named model\.layers\.7"):
        llama.adapters.load("loaded", saved)


def test_an_adapter_of_other_sizes_is_refused(llama: BaseModel, saved: Path) -> None:
    change_weights(
        saved,
        lambda t: {k: torch.zeros(4, 99) if "lora_A" in k else v for k, v in t.items()},
    )
    with pytest.raises(BadAdapter, match="99 inputs"):
        llama.adapters.load("loaded", saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {k: v * float("nan") for k, v in t.items()}, "not finite"),
        (lambda t: {k: v for k, v in t.items() if "q_proj.lora_B" not in k}, "lacks"),
        (lambda t: {**t, "base_model.model.lm_head.weight": torch.zeros(2)}, "not a LoRA tensor"),
        (lambda t: {}, "no LoRA tensors"),
    ],
)
def test_broken_weights_are_refused(
    change: Any, message: str, llama: BaseModel, saved: Path
) -> None:
    change_weights(saved, change)
    with pytest.raises(BadAdapter, match=message):
        llama.adapters.load("loaded", saved)


def test_files_that_are_not_what_they_are_called_are_refused(llama: BaseModel, saved: Path) -> None:
    (saved / peft_format.WEIGHTS_FILE).write_bytes(b"nonsense")
    with pytest.raises(BadAdapter, match="cannot be read"):
        llama.adapters.load("loaded", saved)
    (saved / peft_format.CONFIG_FILE).write_text("nonsense")
    with pytest.raises(BadAdapter, match="not valid JSON"):
        llama.adapters.load("loaded", saved)
    (saved / peft_format.CONFIG_FILE).unlink()
    with pytest.raises(BadAdapter, match="no adapter_config"):
        llama.adapters.load("loaded", saved)
