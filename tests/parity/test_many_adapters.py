"""Many adapters in one batch, and prompts' kept beginnings, change no answer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.parity import reference
from tunesmith.engine.events import SampleDone, SampleFailed, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.row_cache import Piece, RowCache
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import LoraSpec, SampleSpec

NAMES = [f"adapter-{number}" for number in range(8)]
SYSTEM = [(11 * i + 5) % 300 for i in range(200)]


@pytest.fixture
def model(llama_folder: Path) -> BaseModel:
    """Eight adapters of ranks 2 to 9, one of them beside two kinds of layers only."""
    model = BaseModel.load(llama_folder, precision="fp32")
    for number, name in enumerate(NAMES):
        add(model, name, rank=2 + number, targets=("q_proj", "up_proj") if number == 3 else None)
    return model


def add(
    model: BaseModel, name: str, *, rank: int = 4, seed: int = 1, targets: tuple[str, ...] | None
) -> None:
    lora = LoraSpec(rank=rank, alpha=8, **({"targets": targets} if targets else {}))
    adapter = model.adapters.create(name, lora, seed)
    generator = torch.Generator().manual_seed(seed + rank)
    for weights in adapter.layers.values():
        weights.b.detach().normal_(0, 0.2, generator=generator)
    adapter.flat.requires_grad_(False)  # as one that has been loaded
    adapter.round()


def asked(name: str, adapter_id: str | None, prompt: list[int], max_tokens: int = 6) -> SampleSpec:
    return SampleSpec(
        request_id=name,
        adapter_id=adapter_id,
        prompt_token_ids=prompt,
        max_tokens=max_tokens,
        temperature=0,
        ignore_end_of_text=True,
        top_logprobs=0,
    )


def logprobs(sampler: Sampler, specs: list[SampleSpec]) -> dict[str, list[tuple[bytes, float]]]:
    """Of the tokens that each answer is made of; one more request joins at each step."""
    waiting = list(specs)
    told: dict[str, list[tuple[bytes, float]]] = {spec.request_id: [] for spec in specs}
    while waiting or not sampler.is_idle:
        if waiting:
            sampler.submit(waiting.pop(0))
        for event in sampler.step():
            if isinstance(event, TextDelta):
                for token in event.logprobs:
                    assert token.logprob is not None
                    told[event.request_id].append((token.token_bytes, token.logprob))
            else:
                assert isinstance(event, SampleDone)
    return told


def check_same(
    found: dict[str, list[tuple[bytes, float]]], expected: dict[str, list[tuple[bytes, float]]]
) -> None:
    assert found.keys() == expected.keys()
    for name, tokens in expected.items():
        assert [token for token, _ in found[name]] == [token for token, _ in tokens]
        assert [p for _, p in found[name]] == pytest.approx([p for _, p in tokens], abs=1e-5)


def one_by_one(model: BaseModel, specs: list[SampleSpec]) -> dict[str, list[tuple[bytes, float]]]:
    told = {}
    for spec in specs:
        told |= logprobs(Sampler(model, max_prefix_bytes=0), [spec])
    return told


def test_eight_adapters_and_the_base_answer_together_as_one_by_one(model: BaseModel) -> None:
    specs = [
        asked(f"{name}", name, list(range(9 + number, 15 + 3 * number)), 3 + number % 4)
        for number, name in enumerate([*NAMES, None, None])
    ]
    specs[-1] = asked("base too", None, list(range(100, 170)), 9)
    together = logprobs(Sampler(model, max_prefill_tokens=17), specs)
    check_same(together, one_by_one(model, specs))
    assert len(set(map(str, together.values()))) == len(specs)


def test_the_same_prompt_is_answered_by_each_adapter_in_its_own_way(model: BaseModel) -> None:
    """What one adapter made of a prompt is wrong for every other."""
    specs = [
        asked(f"{name} {question}", name, [*SYSTEM, 40 + question, 7])
        for question in range(3)
        for name in [*NAMES, None]
    ]
    sampler = Sampler(model, max_rows=4)
    kept = logprobs(sampler, specs)
    assert sampler._prefixes.num_bytes > 0
    check_same(kept, one_by_one(model, specs))


def test_a_known_beginning_is_not_read_again(
    model: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    forward = RowCache.forward

    def counting(self: RowCache, model: BaseModel, pieces: list[Piece]) -> torch.Tensor:
        read.append(max(len(piece.token_ids) for piece in pieces))
        return forward(self, model, pieces)

    sampler = Sampler(model)
    logprobs(sampler, [asked("first", "adapter-1", [*SYSTEM, 3], 1)])
    monkeypatch.setattr(RowCache, "forward", counting)
    logprobs(sampler, [asked("second", "adapter-1", [*SYSTEM, 4], 1)])
    assert read == [201 - 192]  # three blocks of 64 were there
    logprobs(sampler, [asked("other", "adapter-2", [*SYSTEM, 4], 1)])
    assert read[1:] == [201]


def test_little_room_for_beginnings_changes_no_answer(model: BaseModel) -> None:
    specs = [asked(f"{n} {k}", n, [*SYSTEM, k]) for k in range(2) for n in NAMES]
    columns = 64 * 2 * 2 * 16 * 4  # a block: keys and values, two layers, two heads of 8, fp32
    sampler = Sampler(model, max_prefix_bytes=4 * columns)
    check_same(logprobs(sampler, specs), one_by_one(model, specs))
    assert 0 < sampler._prefixes.num_bytes <= 4 * columns


def test_an_adapter_that_comes_in_anothers_place_answers_for_itself(model: BaseModel) -> None:
    sampler = Sampler(model)
    spec = asked("a", "adapter-5", [*SYSTEM, 9])
    others = [asked(name, name, [*SYSTEM, 9]) for name in NAMES[:3]]
    before = logprobs(sampler, [spec, *others])
    model.adapters.remove("adapter-5")
    add(model, "adapter-5", seed=77, targets=None)
    after = logprobs(sampler, [spec, *others])
    check_same(after, one_by_one(model, [spec, *others]))
    assert after["a"] != before["a"]
    assert {n: after[n] for n in NAMES[:3]}.keys() == {n: before[n] for n in NAMES[:3]}.keys()


def test_an_adapter_in_training_answers_with_its_latest_weights(model: BaseModel) -> None:
    adapter = model.adapters.create("run", LoraSpec(rank=4, alpha=8), seed=3)
    sampler = Sampler(model)
    specs = [asked("run", "run", [*SYSTEM, 9]), asked("other", "adapter-1", [*SYSTEM, 9])]
    before = logprobs(sampler, specs)
    for weights in adapter.layers.values():
        weights.b.detach().fill_(0.1)
    adapter.round()
    after = logprobs(sampler, specs)
    check_same(after, one_by_one(model, specs))
    assert after["run"] != before["run"]


def test_a_broken_adapter_fails_alone(model: BaseModel, tmp_path: Path) -> None:
    """Nothing of it may reach its neighbours, though they share matrix products."""
    broken = model.adapters.create("broken", LoraSpec(rank=4, alpha=8), seed=3)
    next(iter(broken.layers.values())).b.detach().fill_(3e38)  # and its scale is 2
    (tmp_path / "broken").mkdir()
    model.adapters.save("broken", tmp_path / "broken")
    model.adapters.remove("broken")
    model.adapters.load("broken", tmp_path / "broken")
    good = [asked(name, name, [*SYSTEM, 9]) for name in NAMES]
    sampler = Sampler(model)
    for spec in [*good[:4], asked("broken", "broken", [8, 9]), *good[4:]]:
        sampler.submit(spec)
    events = []
    while not sampler.is_idle:
        events += sampler.step()
    assert [e.request_id for e in events if isinstance(e, SampleFailed)] == ["broken"]
    assert len([e for e in events if isinstance(e, SampleDone)]) == len(good)
    check_same(logprobs(sampler, good), one_by_one(model, good))


def test_rows_of_mixed_lengths_have_stock_transformers_logits(llama_folder: Path) -> None:
    model = BaseModel.load(llama_folder, precision="fp32")
    stock = reference.base(llama_folder)
    cache = RowCache()
    texts = [[(7 * i + k) % 300 for i in range(n)] for k, n in enumerate((3, 90, 17, 41))]
    rows = [cache.open() for _ in texts]

    def check(pairs: Iterator[tuple[int, slice]]) -> None:
        chosen = list(pairs)
        pieces = [Piece(row=rows[k], token_ids=texts[k][part]) for k, part in chosen]
        logits = cache.forward(model, pieces)
        for (k, part), found in zip(chosen, logits, strict=True):
            with torch.no_grad():
                expected = stock(torch.tensor([texts[k][: part.stop]])).logits[0, -1]
            torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)

    check(iter([(0, slice(0, 2)), (1, slice(0, 80)), (3, slice(0, 1))]))
    check(iter([(1, slice(80, 81)), (2, slice(0, 16)), (0, slice(2, 3))]))
    cache.close(rows[0])  # the last row moves into its place
    check(iter([(3, slice(1, 41)), (1, slice(81, 90)), (2, slice(16, 17))]))
