"""The autograd function behind LoRA layers, against what autograd makes of the formula."""

import pytest
import torch
from torch import Tensor, nn

from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.lora import (
    LoraFunction,
    LoraWeights,
    Route,
    Share,
    narrowed,
    rows_by_adapter,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec

NUM_TOKENS, NUM_IN, NUM_OUT = 7, 5, 6
RANGES = [slice(0, 3), slice(3, 7)]
RANKS = [2, 4]
SCALES = [2.0, 0.5]


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(1)


def random(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.fixture
def masks(request: pytest.FixtureRequest, generator: torch.Generator) -> list[Tensor | None]:
    if not request.param:
        return [None, None]
    return [torch.rand(r.stop - r.start, NUM_IN, generator=generator) > 0.3 for r in RANGES]


def lora(
    x: Tensor, weight: Tensor, bias: Tensor, masks: list[Tensor | None], *trained: Tensor
) -> Tensor:
    weights = [LoraWeights(a.detach(), b.detach()) for a, b in _pairs(trained)]
    shares = [
        Share(tokens, of_range, scale, kept)
        for tokens, of_range, scale, kept in zip(RANGES, weights, SCALES, masks, strict=True)
    ]
    y: Tensor = LoraFunction.apply(x, weight, bias, shares, *trained)
    return y


def formula(
    x: Tensor, weight: Tensor, bias: Tensor, masks: list[Tensor | None], *trained: Tensor
) -> Tensor:
    parts = []
    for tokens, (a, b), scale, kept in zip(RANGES, _pairs(trained), SCALES, masks, strict=True):
        inputs = x[tokens] if kept is None else x[tokens] * kept
        parts.append(x[tokens] @ weight.t() + bias + scale * inputs @ a.t() @ b.t())
    return torch.cat(parts)


def _pairs(trained: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
    return list(zip(trained[::2], trained[1::2], strict=True))


def trained_tensors(generator: torch.Generator) -> list[Tensor]:
    shapes = [shape for rank in RANKS for shape in ((rank, NUM_IN), (NUM_OUT, rank))]
    return [random(generator, *shape) for shape in shapes]


@pytest.mark.parametrize("masks", [False, True], indirect=True, ids=["plain", "dropout"])
def test_its_gradients_are_those_of_finite_differences(
    masks: list[Tensor | None], generator: torch.Generator
) -> None:
    x = random(generator, NUM_TOKENS, NUM_IN)
    weight = random(generator, NUM_OUT, NUM_IN).detach()
    bias = random(generator, NUM_OUT).detach()

    def of_inputs(x: Tensor, *trained: Tensor) -> Tensor:
        return lora(x, weight, bias, masks, *trained)

    assert torch.autograd.gradcheck(of_inputs, (x, *trained_tensors(generator)))


@pytest.mark.parametrize("masks", [False, True], indirect=True, ids=["plain", "dropout"])
@pytest.mark.parametrize("reaches_down", [True, False])
def test_it_is_the_formula(
    reaches_down: bool, masks: list[Tensor | None], generator: torch.Generator
) -> None:
    x = random(generator, NUM_TOKENS, NUM_IN).detach().requires_grad_(reaches_down)
    weight = random(generator, NUM_OUT, NUM_IN).detach()
    bias = random(generator, NUM_OUT).detach()
    trained = trained_tensors(generator)
    wanted = [x, *trained] if reaches_down else trained
    ours, expected = (f(x, weight, bias, masks, *trained) for f in (lora, formula))
    assert torch.allclose(ours, expected)
    dy = random(generator, NUM_TOKENS, NUM_OUT).detach()
    pairs = zip(
        torch.autograd.grad(ours, wanted, dy),
        torch.autograd.grad(expected, wanted, dy),
        strict=True,
    )
    assert all(torch.allclose(got, due) for got, due in pairs)


def test_layers_that_read_the_same_values_keep_them_once(llama: BaseModel) -> None:
    llama.adapters.create("a", LoraSpec(rank=2, targets=("q_proj", "k_proj", "v_proj")), seed=1)
    attention = llama.network.model.layers[0].self_attn
    x = torch.randn(1, 9, 32, requires_grad=True)
    kept = []

    def note(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with (
        llama.adapters.routed([Route(adapter_id="a")]),
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
    ):
        for layer in (attention.q_proj, attention.k_proj, attention.v_proj):
            layer(x)
    of_inputs = [tensor for tensor in kept if tensor.shape == (9, 32)]
    assert len(of_inputs) == 3
    assert {tensor.data_ptr() for tensor in of_inputs} == {x.data_ptr()}


def test_nothing_below_the_first_adapter_takes_a_gradient(llama: BaseModel) -> None:
    llama.adapters.create("a", LoraSpec(rank=2, targets=("layers.1.mlp.up_proj",)), seed=1)
    inputs = []
    first = llama.network.model.layers[1].mlp
    first.register_forward_pre_hook(lambda module, args: inputs.append(args[0]))
    with llama.adapters.routed([Route(adapter_id="a")]):
        logits = llama.network(torch.arange(10, 30)[None]).logits
    assert not inputs[0].requires_grad
    assert logits.requires_grad


def test_a_bf16_base_computes_with_rounded_weights_and_trains_exact_ones(
    llama_folder: object,
) -> None:
    model = BaseModel.load(llama_folder, precision="bf16")
    adapter = model.adapters.create("a", LoraSpec(rank=2), seed=1)
    with torch.no_grad():
        adapter.flat.add_(0.01)
    adapter.round()
    for name, layer in adapter.layers.items():
        rounded = adapter.rounded[name]
        assert rounded.a.dtype == torch.bfloat16
        assert torch.equal(layer.a.bfloat16(), rounded.a)
        assert torch.equal(layer.b.bfloat16(), rounded.b)
    with model.adapters.routed([Route(adapter_id="a")]):
        model.network(torch.arange(10, 30)[None]).logits.float().logsumexp(-1).sum().backward()
    assert adapter.flat.grad is not None
    assert adapter.flat.grad.dtype == torch.float32
    assert adapter.flat.grad.abs().sum() > 0


def test_each_range_of_tokens_goes_through_its_own_adapter(llama: BaseModel) -> None:
    for seed, name in enumerate(("a", "b")):
        adapter = llama.adapters.create(name, LoraSpec(rank=2), seed=seed)
        adapter.flat.data.add_(0.05)
    layer = llama.network.model.layers[0].mlp.up_proj
    x = torch.randn(1, 8, 32)

    def through(*routes: Route) -> Tensor:
        with torch.no_grad(), llama.adapters.routed(routes):
            y: Tensor = layer(x)[0]
            return y

    a, b, base = through(Route(adapter_id="a")), through(Route(adapter_id="b")), through()
    mixed = through(
        Route(adapter_id="a", tokens=slice(0, 3)), Route(adapter_id="b", tokens=slice(5, 8))
    )
    assert torch.allclose(mixed, torch.cat([a[:3], base[3:5], b[5:]]), atol=1e-6)


def test_routes_are_narrowed_to_the_tokens_that_go_on(llama: BaseModel) -> None:
    routes = [
        Route(adapter_id="a", tokens=slice(0, 4)),
        Route(adapter_id="b", tokens=slice(4, 6)),
        Route(adapter_id="c", tokens=slice(6, 10)),
        Route(adapter_id="d"),
    ]
    kept = narrowed(routes, [1, 3, 6, 8, 9])
    assert [(route.adapter_id, route.tokens) for route in kept] == [
        ("a", slice(0, 2)),
        ("c", slice(2, 5)),
        ("d", None),
    ]
    for name in "ab":
        llama.adapters.create(name, LoraSpec(rank=2), seed=1).flat.data.add_(0.05)
    layer = llama.network.model.layers[0].mlp.up_proj
    x = torch.randn(1, 6, 32)
    with torch.no_grad(), llama.adapters.routed(routes[:2]):
        whole = layer(x)
        with llama.adapters.narrowed([1, 3, 4]):
            part = layer(x[:, [1, 3, 4]])
        assert torch.equal(layer(x), whole)
    assert torch.allclose(part, whole[:, [1, 3, 4]], atol=1e-6)


def test_a_layer_that_sees_only_some_of_the_tokens_refuses_ranges(llama: BaseModel) -> None:
    llama.adapters.create("a", LoraSpec(rank=2), seed=1)
    layer = llama.network.model.layers[0].mlp.up_proj
    with (
        llama.adapters.routed([Route(adapter_id="a", tokens=slice(2, 6))]),
        pytest.raises(UnsupportedModel, match="does not see all tokens"),
    ):
        layer(torch.randn(1, 5, 32))


def test_rows_of_one_adapter_are_one_range_of_tokens() -> None:
    routes = rows_by_adapter([None, "a", "a", "b"], 3)
    assert [(route.adapter_id, route.tokens) for route in routes] == [
        ("a", slice(3, 9)),
        ("b", slice(9, 12)),
    ]
    assert rows_by_adapter(["a", "a"], 3) == [Route(adapter_id="a")]
    assert rows_by_adapter([None, None], 3) == []


def test_layers_that_no_route_leads_through_are_left_alone(llama: BaseModel) -> None:
    llama.adapters.create("a", LoraSpec(rank=2, targets=("q_proj",)), seed=1)
    assert isinstance(llama.network.model.layers[0].mlp.up_proj, nn.Linear)
