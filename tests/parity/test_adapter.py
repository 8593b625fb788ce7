"""Adapters as files: stock PEFT reads ours, we read stock PEFT's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.parity import reference, rows
from tests.tiny_models import make_tiny_gpt2
from tunesmith.engine.events import Finished
from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train

TOKEN_IDS = torch.arange(10, 40)[None]


def logits_with(model: BaseModel, adapter_id: str) -> torch.Tensor:
    with torch.no_grad(), model.adapters.routed([Route(adapter_id=adapter_id)]):
        logits: torch.Tensor = model.network(TOKEN_IDS).logits
    return logits


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "v_proj"), ("1.mlp.up_proj",)])
def test_a_trained_adapter_gives_the_same_logits_in_stock_peft(
    targets: tuple[str, ...],
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    lora = LoraSpec(rank=4, alpha=12, targets=targets)
    spec = new_spec(rows.with_shared_prefix(6), lora=lora)
    *_, finished = train(llama, spec, lambda: False)
    assert isinstance(finished, Finished)

    llama.adapters.load("served", finished.path)
    ours = logits_with(llama, "served")
    llama.adapters.remove("served")
    with torch.no_grad():
        stock = reference.with_adapter(llama_folder, finished.path)(TOKEN_IDS).logits
        untouched = reference.base(llama_folder)(TOKEN_IDS).logits
    assert torch.allclose(ours, stock, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(ours, untouched, atol=1e-2)


def test_an_adapter_of_gpt2_says_how_its_base_keeps_its_weights(
    tmp_path: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    folder = make_tiny_gpt2(tmp_path / "gpt2")
    model = BaseModel.load(folder)
    *_, finished = train(model, new_spec(rows.with_shared_prefix(6)), lambda: False)
    assert isinstance(finished, Finished)

    model.adapters.load("served", finished.path)
    with torch.no_grad():
        stock = reference.with_adapter(folder, finished.path)(TOKEN_IDS).logits
    assert torch.allclose(logits_with(model, "served"), stock, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("use_rslora", [False, True])
def test_an_adapter_of_stock_peft_gives_the_same_logits_here(
    use_rslora: bool, llama: BaseModel, llama_folder: Path, tmp_path: Path
) -> None:
    config = LoraConfig(
        r=3,
        lora_alpha=5,
        use_rslora=use_rslora,
        target_modules="all-linear",
        init_lora_weights=False,
        task_type="CAUSAL_LM",
    )
    stock = get_peft_model(reference.base(llama_folder), config).eval()
    stock.save_pretrained(tmp_path / "adapter")
    llama.adapters.load("stock", tmp_path / "adapter")
    ours = logits_with(llama, "stock")
    llama.adapters.remove("stock")
    with torch.no_grad():
        assert torch.allclose(ours, stock(TOKEN_IDS).logits, rtol=1e-5, atol=1e-5)
