"""Adapters beside weights in 4 bits, against PEFT on the same weights; and where there are none."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from tests.parity import reference, rows
from tunesmith.engine import quantized
from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.events import Finished, StepDone
from tunesmith.engine.lora import Adapter
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

# Of bitsandbytes, which would rather compute elsewhere.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:bitsandbytes")


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(quantized, "_DEVICES", ("cpu",))


def with_copied_adapter(folder: Path, adapter: Adapter) -> Any:
    """PEFT's own layers for 4 bits, beside the same base."""
    base = reference.base(folder).train()
    for name, module in list(base.model.named_modules()):
        if type(module) is nn.Linear:
            base.model.set_submodule(name, _four_bit(module))
    base.is_loaded_in_4bit = True
    config = LoraConfig(
        r=adapter.lora.rank, lora_alpha=adapter.lora.alpha, target_modules=list(adapter.layers)
    )
    model = get_peft_model(base, config)
    with torch.no_grad():
        for name, layer in adapter.layers.items():
            module = model.base_model.model.get_submodule(name)
            assert type(module).__name__ == "Linear4bit"
            module.lora_A["default"].weight.copy_(layer.a)
            module.lora_B["default"].weight.copy_(layer.b)
    return model


def _four_bit(layer: nn.Linear) -> nn.Module:
    bitsandbytes = importlib.import_module("bitsandbytes.nn")
    sizes = (layer.in_features, layer.out_features)
    packed = bitsandbytes.Linear4bit(
        *sizes, bias=False, compute_dtype=torch.float32, quant_type="nf4"
    )
    packed.load_state_dict(layer.state_dict())
    return packed.to("cpu")


@pytest.mark.usefixtures("on_cpu")
def test_gradients_equal_peft_on_the_same_packed_base(
    llama_folder: Path, new_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "with_copied_adapter", with_copied_adapter)
    model = BaseModel.load(llama_folder, quantization="nf4", device="cpu")
    layer = model.network.model.layers[0].mlp.up_proj
    assert layer.weight.dtype == torch.uint8
    run = open_run(model, new_spec(rows.with_shared_prefix(8), batch_size=8))
    reference.move_away(run)
    found = reference.compared(
        run, llama_folder, lambda peft: reference.mean_loss(peft, run.batch(1))
    )
    close_run(run)
    assert found.figures.loss == pytest.approx(found.loss, rel=1e-6)
    assert found.gradient_error < 1e-6
    plain = reference.mean_loss(reference.base(llama_folder), run.batch(1)).item()
    assert abs(found.loss - plain) > 1e-3  # the weights are others than in fp32


@pytest.mark.usefixtures("on_cpu")
def test_a_run_learns_beside_packed_weights_whose_own_cannot_be_trained(
    llama_folder: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    model = BaseModel.load(llama_folder, quantization="nf4", device="cpu")
    spec = new_spec(rows.with_shared_prefix(8), num_epochs=6, learning_rate=2e-2)
    told = list(train(model, spec, lambda: False))
    losses = [event.loss for event in told if isinstance(event, StepDone)]
    assert losses[-1] < losses[0] / 2
    assert isinstance(told[-1], Finished)
    whole = new_spec(rows.with_shared_prefix(8), trains_all_weights=True)
    with pytest.raises(UnsupportedModel, match="packed in 4 bits"):
        list(train(model, whole, lambda: False))


def test_where_they_cannot_be_packed_a_sentence_says_so(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UnsupportedModel, match="need a CUDA device"):
        BaseModel.load(llama_folder, quantization="nf4", device="cpu")
    monkeypatch.setattr(quantized, "find_spec", lambda name: None)
    with pytest.raises(UnsupportedModel, match=r"tunesmith\[quantized\]"):
        quantized.check("cuda:0")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_a_run_learns_on_a_gpu(llama_folder: Path, new_spec: Callable[..., TrainSpec]) -> None:
    pytest.importorskip("bitsandbytes")
    model = BaseModel.load(llama_folder, quantization="nf4", device="cuda")
    spec = new_spec(rows.with_shared_prefix(8), num_epochs=6, learning_rate=2e-2)
    losses = [e.loss for e in train(model, spec, lambda: False) if isinstance(e, StepDone)]
    assert losses[-1] < losses[0] / 2
