"""Answering between the steps of a run changes neither the run nor the base."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from tests.parity import rows
from tests.parity.test_resume import adapter_bytes
from tunesmith.engine.events import Finished, SampleFailed, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import LoraSpec, SampleSpec, TrainSpec
from tunesmith.engine.train import train

QUESTION = [{"role": "user", "content": "how is the sea today?"}]


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_sampling_between_steps_leaves_the_trained_adapter_bit_identical(
    dropout: float, llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    lora = LoraSpec(rank=4, alpha=8, dropout=dropout)
    spec = new_spec(rows.with_shared_prefix(10), lora=lora)
    *_, alone = train(llama, spec, lambda: False)

    disturbed = replace(spec, output_dir=spec.output_dir / "disturbed")
    sampler = Sampler(llama)
    num_deltas = 0
    events = []
    for number, event in enumerate(train(llama, disturbed, lambda: False)):
        events.append(event)
        for adapter_id in (None, spec.run_id):
            sampler.submit(
                SampleSpec(
                    request_id=f"{number}-{adapter_id}",
                    adapter_id=adapter_id,
                    messages=QUESTION,
                    max_tokens=5,
                )
            )
        for _ in range(3):
            told = sampler.step()
            assert not any(isinstance(e, SampleFailed) for e in told)
            num_deltas += sum(isinstance(e, TextDelta) for e in told)
    assert num_deltas > 20
    assert isinstance(alone, Finished)
    assert isinstance(events[-1], Finished)
    assert adapter_bytes(alone.path) == adapter_bytes(events[-1].path)


def test_the_base_answers_the_same_while_a_run_is_open(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    token_ids = torch.arange(10, 40)[None]
    before = llama.network(token_ids).logits
    events = train(llama, new_spec(rows.with_shared_prefix(8)), lambda: False)
    for _ in range(4):
        next(events)
        assert torch.equal(llama.network(token_ids).logits, before)
    events.close()
    assert torch.equal(llama.network(token_ids).logits, before)


def test_a_runs_adapter_is_gone_when_the_run_is(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.without_shared_prefix(4))
    events = train(llama, spec, lambda: False)
    next(events)
    assert spec.run_id in llama.adapters
    events.close()
    assert spec.run_id not in llama.adapters
