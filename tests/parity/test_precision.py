"""A base in bf16 against the same in fp32: the loss curves of a model of 28 million parameters."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig

from tests.parity import rows
from tests.tiny_models import make_tokenizer
from tunesmith.engine.events import StepDone
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

TOLERANCE = 0.01  # of each step's loss, relative


def make_28m(folder: Path) -> Path:
    tokenizer = make_tokenizer()
    config = LlamaConfig(
        vocab_size=32_000,
        hidden_size=384,
        num_hidden_layers=10,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=1024,
        tie_word_embeddings=True,
        eos_token_id=0,
        pad_token_id=1,
        bos_token_id=None,
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_loss_curve_in_bf16_is_that_in_fp32(
    tmp_path: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    folder = make_28m(tmp_path / "model")
    spec = new_spec(rows.with_shared_prefix(8), num_epochs=5, learning_rate=1e-3)
    exact, rounded = (
        [
            done.loss
            for done in train(BaseModel.load(folder, precision=precision), spec, lambda: False)
            if isinstance(done, StepDone)
        ]
        for precision in ("fp32", "bf16")
    )
    assert exact[-1] < exact[0] - 1  # it learns, so the curve is worth comparing
    assert rounded == pytest.approx(exact, rel=TOLERANCE)
