"""Which token comes next, against the rules that transformers has for it."""

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import RepetitionPenaltyLogitsProcessor, TopKLogitsWarper, TopPLogitsWarper

from tunesmith.engine.choice import TokenChoice
from tunesmith.engine.spec import SampleSpec

PROMPT_IDS = [3, 5, 5]
LOGITS = torch.tensor([1.0, 2.0, -1.0, 4.0, 3.5, -0.5, 3.5, 0.0])


def choice(**fields: Any) -> TokenChoice:
    return TokenChoice(SampleSpec(request_id="a", prompt="x", seed=1, **fields), PROMPT_IDS)


def frequencies(drawn: TokenChoice, num_draws: int = 3000) -> Tensor:
    counts = Counter(drawn.next(LOGITS) for _ in range(num_draws))
    return torch.tensor([counts[token] / num_draws for token in range(len(LOGITS))])


@pytest.mark.parametrize("penalty", [0.5, 1.3, 2.0])
def test_a_repetition_penalty_is_that_of_transformers(penalty: float) -> None:
    ours = choice(repetition_penalty=penalty)
    ours.saw(4)
    ids = torch.tensor([[*PROMPT_IDS, 4]])
    expected = RepetitionPenaltyLogitsProcessor(penalty)(ids, LOGITS[None].clone())
    assert torch.equal(ours._adjusted(LOGITS), expected[0])


def test_a_penalty_changes_what_is_greedily_chosen() -> None:
    assert choice(temperature=0).next(LOGITS) == 3
    penalized = choice(temperature=0, repetition_penalty=1.5)
    assert not penalized.is_argmax
    assert penalized.next(LOGITS) == 4


@pytest.mark.parametrize(("top_k", "top_p"), [(1, 1.0), (2, 1.0), (3, 1.0), (50, 1.0), (4, 0.9)])
def test_top_k_and_top_p_are_those_of_transformers(top_k: int, top_p: float) -> None:
    ids = torch.tensor([PROMPT_IDS])
    kept = TopKLogitsWarper(top_k)(ids, LOGITS[None] / 0.8)
    if top_p < 1:
        kept = TopPLogitsWarper(top_p)(ids, kept)
    expected = torch.softmax(kept[0], dim=-1)
    seen = frequencies(choice(temperature=0.8, top_k=top_k, top_p=top_p))
    assert not seen[expected == 0].any()
    assert torch.allclose(seen, expected, atol=0.04)


def test_top_k_counts_what_a_grammar_allows() -> None:
    allowed = torch.zeros(len(LOGITS), dtype=torch.bool)
    allowed[0] = allowed[2] = True
    assert choice(top_k=1).next(LOGITS, allowed) == 0
