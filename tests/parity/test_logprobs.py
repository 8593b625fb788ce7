"""Log-probabilities and embeddings are those of stock transformers, one text at a time."""

import pytest
import torch
from torch import Tensor

from tests.parity import reference
from tunesmith.engine.embed import Embedder
from tunesmith.engine.events import Embedded, SampleDone, TextDelta, TokenLogprob
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import EmbedSpec, SampleSpec

pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

PROMPTS = [list(range(20 + n, 20 + 3 * n)) for n in (1, 4, 9, 30)]
ADAPTERS = (None, "first")


def stock_logprobs(model: object, token_ids: list[int]) -> Tensor:
    """Of each token's successor, (tokens, vocabulary)."""
    with torch.no_grad():
        logits = model(torch.tensor([token_ids])).logits[0]  # type: ignore[operator]
    return torch.log_softmax(logits.float(), dim=-1)


def answered(model: BaseModel, specs: list[SampleSpec]) -> dict[str, list[TokenLogprob]]:
    """In a mixed batch, joined while others are being written."""
    sampler = Sampler(model, max_rows=5, max_prefill_tokens=24)
    waiting = list(specs)
    told: dict[str, list[TokenLogprob]] = {spec.request_id: [] for spec in specs}
    while waiting or not sampler.is_idle:
        for spec in waiting[:3]:
            sampler.submit(spec)
        del waiting[:3]
        for event in sampler.step():
            if isinstance(event, TextDelta):
                told[event.request_id] += event.logprobs
            else:
                assert isinstance(event, SampleDone)
    return told


def is_close(found: float | None, expected: Tensor) -> bool:
    return found is not None and abs(found - float(expected)) < 1e-3


def check_tops(model: BaseModel, token: TokenLogprob, logprobs: Tensor, num_top: int) -> None:
    expected = logprobs.topk(num_top).values.tolist()
    assert [t.logprob for t in token.top] == pytest.approx(expected, abs=1e-3)
    for likely in token.top:
        same = [i for i in range(len(logprobs)) if is_close(likely.logprob, logprobs[i])]
        assert likely.token_bytes in [model.vocabulary.token(i)[1] for i in same]


def test_answers_tokens_have_the_stock_models_log_probabilities(
    served: tuple[BaseModel, dict[str | None, object]],
) -> None:
    model, stock = served
    specs = [
        SampleSpec(
            request_id=f"{adapter_id} {number} {top}",
            adapter_id=adapter_id,
            prompt_token_ids=prompt_ids,
            max_tokens=6,
            temperature=0,
            top_logprobs=top,
        )
        for number, prompt_ids in enumerate(PROMPTS)
        for adapter_id in ADAPTERS
        for top in (None, 0, 3)
    ]
    told = answered(model, specs)
    for spec in specs:
        logprobs = told[spec.request_id]
        if spec.top_logprobs is None:
            assert logprobs == []
            continue
        prompt_ids = spec.prompt_token_ids or []
        written = reference.greedy(stock[spec.adapter_id], prompt_ids, 6)
        expected = stock_logprobs(stock[spec.adapter_id], prompt_ids + written)
        told_ids = [i for i in written if i not in model.end_of_text_ids]
        assert len(logprobs) == len(told_ids)
        for offset, (token_id, token) in enumerate(zip(told_ids, logprobs, strict=True)):
            row = expected[len(prompt_ids) - 1 + offset]
            assert token.token_bytes == model.vocabulary.token(token_id)[1]
            assert is_close(token.logprob, row[token_id])
            check_tops(model, token, row, spec.top_logprobs)


@pytest.mark.parametrize("max_tokens", [0, 2])
def test_an_echoed_prompt_has_the_stock_models_log_probabilities(
    served: tuple[BaseModel, dict[str | None, object]], max_tokens: int
) -> None:
    model, stock = served
    specs = [
        SampleSpec(
            request_id=f"{adapter_id} {number}",
            adapter_id=adapter_id,
            prompt_token_ids=prompt_ids,
            max_tokens=max_tokens,
            temperature=0,
            echo=True,
            top_logprobs=2,
            ignore_end_of_text=True,
        )
        for number, prompt_ids in enumerate([*PROMPTS, list(range(300)), PROMPTS[1][::-1]])
        for adapter_id in ADAPTERS
    ]
    told = answered(model, specs)
    for spec in specs:
        prompt_ids = spec.prompt_token_ids or []
        expected = stock_logprobs(stock[spec.adapter_id], prompt_ids)
        first, *others = told[spec.request_id]
        assert (first.logprob, first.top) == (None, ())
        assert len(others) == len(prompt_ids) - 1 + max_tokens
        for at in range(len(prompt_ids) - 1):
            assert is_close(others[at].logprob, expected[at, prompt_ids[at + 1]])
            check_tops(model, others[at], expected[at], 2)


def test_embeddings_are_the_mean_of_the_stock_models_last_hidden_states(
    served: tuple[BaseModel, dict[str | None, object]],
) -> None:
    model, stock = served
    embedder = Embedder(model, max_rows=5, max_tokens=150)
    asked = {
        f"{adapter_id} {number}": (adapter_id, token_ids)
        for number, token_ids in enumerate([*PROMPTS, list(range(200))])
        for adapter_id in ADAPTERS
    }
    for request_id, (adapter_id, token_ids) in asked.items():
        embedder.submit(
            EmbedSpec(request_id=request_id, adapter_id=adapter_id, token_ids=token_ids)
        )
    told = {}
    while not embedder.is_idle:
        for event in embedder.step():
            assert isinstance(event, Embedded)
            told[event.request_id] = event
    assert told.keys() == asked.keys()
    for request_id, (adapter_id, token_ids) in asked.items():
        network = stock[adapter_id]
        with torch.no_grad():
            output = network(torch.tensor([token_ids]), output_hidden_states=True)  # type: ignore[operator]
        mean = output.hidden_states[-1][0].mean(0)
        expected = (mean / mean.norm()).tolist()
        assert told[request_id].embedding == pytest.approx(expected, abs=1e-4)
        assert told[request_id].prompt_tokens == len(token_ids)
