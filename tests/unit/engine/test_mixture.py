"""Each token of a mixed forward goes through its own adapter and no other."""

import pytest
import torch

from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec

RANKS = {"narrow": 3, "even": 16, "wide": 40, "widest": 70}


@pytest.fixture
def model(llama: BaseModel) -> BaseModel:
    for seed, (name, rank) in enumerate(RANKS.items()):
        targets = {"targets": ("q_proj", "down_proj")} if name == "even" else {}
        adapter = llama.adapters.create(name, LoraSpec(rank=rank, alpha=8, **targets), seed)
        generator = torch.Generator().manual_seed(seed)
        for weights in adapter.layers.values():
            weights.b.detach().normal_(0, 0.2, generator=generator)
        adapter.flat.requires_grad_(False)  # as one that has been loaded
        adapter.round()
    return llama


@torch.no_grad()
@pytest.mark.parametrize(
    "stream",
    [
        [("even", 1), ("narrow", 1)],
        [("narrow", 1), ("even", 1), ("narrow", 1), (None, 1), ("wide", 1), ("narrow", 1)],
        [(None, 2), ("widest", 1), ("wide", 5), ("wide", 1), (None, 1), ("widest", 1)],
        [("wide", 1)],
        [("narrow", 4), (None, 3)],
    ],
    ids=["one each", "several each", "beside longer ones", "one alone", "none alone"],
)
def test_a_mixed_stream_equals_routes(
    model: BaseModel, stream: list[tuple[str | None, int]]
) -> None:
    num_tokens = sum(count for _, count in stream)
    token_ids = torch.arange(20, 20 + num_tokens)[None]
    routes = []
    end = 0
    for name, count in stream:
        start, end = end, end + count
        if name is not None:
            routes.append(Route(adapter_id=name, tokens=slice(start, end)))
    with model.adapters.routed(routes):
        expected = model.network(token_ids).logits
    bare = model.network(token_ids).logits
    for _ in range(2):  # the second time everything has its place already
        with model.adapters.mixed(stream):
            found = model.network(token_ids).logits
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(found, bare, atol=1e-2)


@torch.no_grad()
def test_who_asks_alone_is_not_slowed_by_the_others_places(model: BaseModel) -> None:
    token_ids = torch.arange(20, 24)[None]
    with model.adapters.mixed([(name, 1) for name in RANKS]):
        model.network(token_ids)
    with model.adapters.mixed([("narrow", 1)]):
        (mixture,) = model.adapters._additions
        assert mixture.seating.places == slice(0, 1)  # type: ignore[attr-defined]
        model.network(token_ids[:, :1])
