"""Tiles against torch's own attention, segment by segment."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from tunesmith.engine import tiles
from tunesmith.engine.tiling import Stretch, Tiling

HEADS, KEY_HEADS, SIZE = 6, 2, 8

STREAMS = {
    "segments of many lengths": [Stretch(0, 1, ()), Stretch(1, 20, ()), Stretch(20, 100, ())],
    "longer than a tile": [Stretch(0, 300, ()), Stretch(300, 475, ())],
    "behind one prefix": [
        Stretch(0, 40, ()),
        Stretch(40, 45, ((0, 40),)),
        Stretch(45, 180, ((0, 40),)),
    ],
    "branches": [
        Stretch(0, 30, ()),
        Stretch(30, 50, ((0, 30),)),
        Stretch(50, 53, ((0, 30), (30, 50))),
        Stretch(53, 60, ((0, 30), (30, 50))),
        Stretch(60, 70, ((0, 30),)),
        Stretch(70, 90, ()),
    ],
}


def attended(query: Tensor, key: Tensor, value: Tensor, stretch: Stretch, scale: float) -> Tensor:
    places = [*range(stretch.start, stretch.end)]
    seen = [p for start, end in stretch.context for p in range(start, end)] + places
    mask = torch.ones(len(places), len(seen), dtype=torch.bool).tril(len(seen) - len(places))
    q, k, v = (x.transpose(0, 1) for x in (query[places], key[seen], value[seen]))
    output = scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale, enable_gqa=True)
    return output.transpose(0, 1)


CHOSEN = {  # of a stream's tokens, those with queries; None: all
    "all": None,
    "each third": lambda n: n % 3 == 0,
    "the last ones": lambda n: n > 42,
    "but one stretch": lambda n: not 1 <= n < 50,
    "one": lambda n: n == 50,
}


@pytest.mark.parametrize("stretches", STREAMS.values(), ids=STREAMS.keys())
@pytest.mark.parametrize("is_chosen", CHOSEN.values(), ids=CHOSEN.keys())
def test_values_and_gradients_are_those_of_plain_attention(
    is_chosen: Callable[[int], bool] | None, stretches: list[Stretch]
) -> None:
    torch.manual_seed(0)
    num_tokens = stretches[-1].end
    inputs = [torch.randn(num_tokens, h, SIZE) for h in (HEADS, KEY_HEADS, KEY_HEADS)]
    ours = [x.clone().requires_grad_() for x in inputs]
    theirs = [x.clone().requires_grad_() for x in inputs]
    upstream = torch.randn(num_tokens, HEADS, SIZE)
    expected = torch.cat([attended(*theirs, stretch, 0.3) for stretch in stretches])
    if is_chosen is None:
        found = tiles.attend(*ours, Tiling.of(stretches, num_tokens, HEADS, KEY_HEADS), 0.3)
    else:
        chosen = [n for n in range(num_tokens) if is_chosen(n)]
        tiling = Tiling.of_some(stretches, chosen, num_tokens, HEADS, KEY_HEADS)
        found = tiles.attend(ours[0][chosen], *ours[1:], tiling, 0.3)
        expected, upstream = expected[chosen], upstream[chosen]
    found.backward(upstream)
    expected.backward(upstream)
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-6)
    for a, b in zip(ours, theirs, strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert (a.grad - b.grad).norm() / b.grad.norm() < 1e-6


def test_what_is_in_no_stretch_is_zero() -> None:
    query, key, value = (torch.randn(10, 2, SIZE) for _ in range(3))
    tiling = Tiling.of([Stretch(4, 8, ())], 10, 2, 2)
    output = tiles.attend(query, key, value, tiling, 1.0)
    assert not output[:4].any()
    assert not output[8:].any()
    assert output[4:8].all()
