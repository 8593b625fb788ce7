"""Answers in a mixed batch are those of `generate` with stock PEFT, one by one."""

import pytest

from tests.parity import reference
from tunesmith.engine.events import SampleDone, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import SampleSpec

# What stock PEFT says when it is not told beforehand how GPT-2 keeps its weights.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

PROMPTS = [list(range(20 + n, 20 + 3 * n)) for n in (1, 4, 9, 17, 30, 3)]


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
