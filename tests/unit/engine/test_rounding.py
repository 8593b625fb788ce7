from dataclasses import replace

import pytest
import torch

from tunesmith.engine import attention, forward
from tunesmith.engine.examples import Example
from tunesmith.engine.forward import predicted
from tunesmith.engine.joining import joined, split
from tunesmith.engine.loss import Predicted
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch, pack, pack_singly
from tunesmith.engine.passes import Wanted, answered
from tunesmith.engine.rounding import rounded


def batch(num_tokens: int, num_learned: int, first: int = 0) -> PackedBatch:
    token_ids = [(first + 7 * n) % 90 + 3 for n in range(num_tokens)]
    is_learned = [False] * (num_tokens - num_learned) + [True] * num_learned
    [packed] = pack([Example(token_ids, is_learned)], 10_000)
    return packed


@pytest.mark.parametrize(
    ("num_tokens", "num_learned", "expected"),
    [
        (2, 1, (64, 16)),
        (65, 16, (64, 16)),  # the last token predicts nothing, so it is left out
        (66, 17, (128, 32)),
        (1026, 300, (1088, 320)),
        (2200, 1100, (2304, 1152)),
        (4097, 4096, (4096, 4096)),
    ],
)
def test_sizes_are_round(num_tokens: int, num_learned: int, expected: tuple[int, int]) -> None:
    made = rounded(batch(num_tokens, num_learned))
    assert (len(made.token_ids), len(made.logit_positions)) == expected
    assert len(made.position_ids) == expected[0]
    assert len({*made.logit_positions}) == expected[1]
    assert all(0 <= position < expected[0] for position in made.logit_positions)


def test_what_was_there_stays_as_it_was_and_twice_is_once() -> None:
    plain = batch(70, 5)
    made = rounded(plain)
    assert made.token_ids[:69] == plain.token_ids
    assert made.logit_positions[:5] == plain.logit_positions
    assert (made.segments, made.targets) == (plain.segments, plain.targets)
    assert rounded(made) == made


def test_texts_that_go_alone_are_left_alone() -> None:
    [single] = pack_singly([Example([3, 4, 5], [False, False, True])])
    assert rounded(single) is single


@pytest.mark.parametrize("max_scores", [0, 400, 1 << 20])
def test_padding_between_batches_is_nobodys_neighbour(
    llama: BaseModel, max_scores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether segments are short, long or both."""
    monkeypatch.setattr(attention, "_MAX_SCORES", max_scores)
    batches = [batch(15, 4), batch(40, 9, first=5), batch(12, 3, first=1)]
    with torch.no_grad():
        alone = [predicted(llama, one).logprobs for one in batches]
        made = [rounded(one) for one in batches]
        together = split(predicted(llama, rounded(joined(made))), made)
    for expected, found in zip(alone, together, strict=True):
        assert torch.allclose(found.logprobs, expected, atol=1e-5)


@pytest.mark.parametrize(("is_on", "expected"), [(True, (192, 32)), (False, (78, 7))])
def test_passes_are_of_round_sizes(
    llama: BaseModel, is_on: bool, expected: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []

    def noting(model: BaseModel, packed: PackedBatch) -> Predicted:
        sizes.append((len(packed.token_ids), len(packed.logit_positions)))
        return predicted(model, packed)

    monkeypatch.setattr(forward, "predicted", noting)
    llama.shortcuts = replace(llama.shortcuts, round_sizes=is_on)
    wanted = [Wanted(batch=one, route=None) for one in (batch(70, 5), batch(10, 2, first=5))]
    answers = answered(llama, wanted)
    assert sizes == [expected]
    assert [len(answer.predicted.logprobs) for answer in answers] == [5, 2]
