"""Answers in a mixed batch are those of `generate` with stock PEFT, one by one."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.parity import reference
from tests.tiny_models import (
    make_tiny_gemma2,
    make_tiny_gemma3,
    make_tiny_gpt2,
    make_tiny_lfm2,
    make_tiny_llama,
    make_tiny_mistral,
    make_tiny_qwen3,
)
from tunesmith.engine.events import SampleDone, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import SampleSpec

# What stock PEFT says when it is not told beforehand how GPT-2 keeps its weights.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

PROMPTS = [list(range(20 + n, 20 + 3 * n)) for n in (1, 4, 9, 17, 30, 3)]


def random_adapter(folder: Path, seed: int, path: Path) -> Path:
    torch.manual_seed(seed)
    config = LoraConfig(r=4, lora_alpha=16, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(reference.base(folder), config).save_pretrained(path)
    return path


@pytest.fixture(
    scope="module",
    params=[
        make_tiny_llama,
        make_tiny_qwen3,
        make_tiny_mistral,
        make_tiny_gemma2,
        make_tiny_gemma3,
        make_tiny_gpt2,
        make_tiny_lfm2,
    ],
)
def served(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[BaseModel, dict[str | None, object]]:
    """A base with two adapters here, and the same three models as stock PEFT has them."""
    tmp_path = tmp_path_factory.mktemp("served")
    folder = request.param(tmp_path / "model")
    model = BaseModel.load(folder)
    stock: dict[str | None, object] = {None: reference.base(folder)}
    for seed, name in enumerate(("first", "second")):
        path = random_adapter(folder, seed, tmp_path / name)
        model.adapters.load(name, path)
        stock[name] = reference.with_adapter(folder, path)
    return model, stock


def test_a_mixed_batch_answers_as_stock_peft_does_one_by_one(
    served: tuple[BaseModel, dict[str | None, object]],
) -> None:
    model, stock = served
    sampler = Sampler(model, max_rows=4, max_prefill_tokens=24)
    specs = [
        SampleSpec(
            request_id=f"{adapter_id}-{number}",
            adapter_id=adapter_id,
            prompt_token_ids=prompt_ids,
            max_tokens=8 + 5 * (number % 3),
            temperature=0,
        )
        for number, prompt_ids in enumerate(PROMPTS)
        for adapter_id in (None, "first", "second")
    ]
    waiting = list(specs)
    texts = {spec.request_id: "" for spec in specs}
    num_tokens = {}
    while waiting or not sampler.is_idle:
        for spec in waiting[:2]:  # they join while others are being written
            sampler.submit(spec)
        del waiting[:2]
        for event in sampler.step():
            if isinstance(event, TextDelta):
                texts[event.request_id] += event.text
            else:
                assert isinstance(event, SampleDone)
                num_tokens[event.request_id] = event.completion_tokens
    for spec in specs:
        assert spec.prompt_token_ids is not None
        assert spec.max_tokens is not None
        expected = reference.greedy(stock[spec.adapter_id], spec.prompt_token_ids, spec.max_tokens)
        text = model.tokenizer.decode(expected, skip_special_tokens=True)
        assert num_tokens[spec.request_id] == len(expected)
        assert texts[spec.request_id] == text.rstrip("\ufffd")
