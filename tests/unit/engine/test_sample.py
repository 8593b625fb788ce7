from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.engine.events import SampleDone, SampleEvent, SampleFailed, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.row_cache import Piece, RowCache
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import LoraSpec, SampleSpec


def spec(request_id: str, prompt: str = "the weather", **fields: Any) -> SampleSpec:
    """Seeded: a random model's tokens need not be text, so an answer may be silent for a while."""
    given = {"request_id": request_id, "prompt": prompt, "max_tokens": 6, "seed": 1, **fields}
    return SampleSpec(**given)


def drain(sampler: Sampler, *specs: SampleSpec) -> list[SampleEvent]:
    for one in specs:
        sampler.submit(one)
    events = []
    while not sampler.is_idle:
        events += sampler.step()
    return events


def texts(events: list[SampleEvent]) -> dict[str, str]:
    joined: dict[str, str] = {}
    for event in events:
        if isinstance(event, TextDelta):
            joined[event.request_id] = joined.get(event.request_id, "") + event.text
    return joined


def test_an_answer_comes_in_pieces_and_ends_with_its_counts(llama: BaseModel) -> None:
    events = drain(Sampler(llama), spec("a", ignore_end_of_text=True, seed=3))
    assert isinstance(events[-1], SampleDone)
    assert events[-1].finish_reason == "length"
    assert events[-1].completion_tokens == 6
    assert events[-1].prompt_tokens == len(llama.tokenizer("the weather")["input_ids"])
    counts = [event.num_tokens for event in events if isinstance(event, TextDelta)]
    assert counts == sorted(counts)


def test_a_seeded_answer_does_not_depend_on_its_neighbours(llama: BaseModel) -> None:
    alone = texts(drain(Sampler(llama), spec("a", seed=5, max_tokens=20)))
    others = [spec(f"other-{n}", "you " * (n + 1), max_tokens=3 * n + 1) for n in range(5)]
    among = texts(drain(Sampler(llama, max_rows=3), *others, spec("a", seed=5, max_tokens=20)))
    assert alone["a"] == among["a"]


def test_bad_requests_fail_alone(llama: BaseModel) -> None:
    events = drain(
        Sampler(llama),
        spec("good"),
        spec("no adapter", adapter_id="missing"),
        spec("too long", "you " * 600),
        spec("bad role", messages=[{"content": "hi"}]),
        spec("bad ids", prompt=None, prompt_token_ids=[10**6]),
    )
    failed = {e.request_id: e.code for e in events if isinstance(e, SampleFailed)}
    assert failed == {
        "no adapter": "adapter_not_loaded",
        "too long": "prompt_too_long",
        "bad role": "bad_conversation",
        "bad ids": "bad_conversation",
    }
    assert [e.request_id for e in events if isinstance(e, SampleDone)] == ["good"]


def test_no_more_rows_are_active_than_allowed_and_all_are_answered(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []
    forward = RowCache.forward

    def counting(self: RowCache, model: BaseModel, pieces: Sequence[Piece]) -> torch.Tensor:
        seen.append([len(piece.token_ids) for piece in pieces])
        return forward(self, model, pieces)

    sampler = Sampler(llama, max_rows=2, max_prefill_tokens=5)
    monkeypatch.setattr(RowCache, "forward", counting)
    events = drain(sampler, *(spec(str(n), "rain " * (n + 1)) for n in range(5)))
    assert sum(isinstance(e, SampleDone) for e in events) == 5
    assert max(map(len, seen)) == 2
    assert max(sum(length for length in lengths if length > 1) for lengths in seen) == 5


def test_the_cache_budget_lets_requests_wait_but_never_starve(llama: BaseModel) -> None:
    sampler = Sampler(llama, max_cache_tokens=40)
    for n in range(3):
        sampler.submit(spec(str(n), max_tokens=25, ignore_end_of_text=True))
    sampler.step()
    assert len(sampler._active) == 1
    assert sum(isinstance(e, SampleDone) for e in drain(sampler)) == 3


def test_a_long_prompt_does_not_hold_up_who_is_being_answered(llama: BaseModel) -> None:
    sampler = Sampler(llama, max_prefill_tokens=16)
    sampler.submit(spec("short", "a", max_tokens=30, ignore_end_of_text=True))
    sampler.step()
    sampler.submit(spec("long", "rain " * 80))
    told_meanwhile = [event for _ in range(5) for event in sampler.step()]
    assert {event.request_id for event in told_meanwhile} == {"short"}
    assert {e.request_id for e in drain(sampler) if isinstance(e, SampleDone)} == {"short", "long"}


def test_a_cancelled_request_is_silent_and_the_others_go_on(llama: BaseModel) -> None:
    sampler = Sampler(llama, max_rows=2)
    for name in ("active", "cancelled", "waiting"):
        sampler.submit(spec(name, max_tokens=20, ignore_end_of_text=True))
    told: set[str] = set()
    while "cancelled" not in told:
        assert not sampler.is_idle
        told = {event.request_id for event in sampler.step()}
    sampler.cancel("cancelled")
    after = drain(sampler)
    assert {e.request_id for e in after if isinstance(e, SampleDone)} == {"active", "waiting"}
    assert "cancelled" not in {event.request_id for event in after}


def test_an_adapter_taken_away_fails_its_answers_and_no_others(llama: BaseModel) -> None:
    llama.adapters.create("tuned", LoraSpec(rank=2), seed=1)
    sampler = Sampler(llama, max_rows=2)
    long = {"max_tokens": 20, "ignore_end_of_text": True}
    for name, adapter_id in (("base", None), ("tuned", "tuned"), ("waiting", "tuned")):
        sampler.submit(spec(name, adapter_id=adapter_id, **long))
    sampler.step()
    llama.adapters.remove("tuned")
    events = drain(sampler)
    failed = {e.request_id: e.code for e in events if isinstance(e, SampleFailed)}
    assert failed == {"tuned": "adapter_not_loaded", "waiting": "adapter_not_loaded"}
    assert [e.request_id for e in events if isinstance(e, SampleDone)] == ["base"]


def test_running_out_of_memory_costs_the_newest_answer_only(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = texts(drain(Sampler(llama), spec("old", seed=2, max_tokens=12)))
    sampler = Sampler(llama)
    sampler.submit(spec("old", seed=2, max_tokens=12))
    early = sampler.step()
    sampler.submit(spec("new", "rain " * 20, max_tokens=12))
    early += sampler.step()
    attend = llama.network.model.layers[1].self_attn
    with monkeypatch.context() as patch:  # the first layer has cached the tokens by then

        def fails(*args: object, **kwargs: object) -> None:
            raise torch.OutOfMemoryError

        patch.setattr(attend, "forward", fails)
        early += sampler.step()
    events = early + drain(sampler)
    failed = [(e.request_id, e.code) for e in events if isinstance(e, SampleFailed)]
    assert failed == [("new", "out_of_memory")]
    assert texts(events)["old"] == alone["old"]


def test_a_template_free_model_still_completes_text(llama: BaseModel) -> None:
    llama.tokenizer.chat_template = None
    events = drain(
        Sampler(llama), spec("text"), spec("chat", messages=[{"role": "user", "content": "hi"}])
    )
    assert {e.request_id: type(e) for e in events} == {"chat": SampleFailed, "text": SampleDone}


def test_an_answer_stops_where_the_context_ends(llama: BaseModel) -> None:
    num_prompt_tokens = llama.context_length - 3
    prompt_ids = [30] * num_prompt_tokens
    unbounded = spec(
        "a", prompt=None, prompt_token_ids=prompt_ids, max_tokens=None, ignore_end_of_text=True
    )
    events = drain(Sampler(llama), unbounded)
    assert isinstance(events[-1], SampleDone)
    assert events[-1].completion_tokens == 3
    assert events[-1].finish_reason == "length"


def test_rows_are_answered_through_the_template(llama: BaseModel, llama_folder: Path) -> None:
    messages = [{"role": "user", "content": "hi"}]
    text = llama.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    events = drain(
        Sampler(llama),
        spec("chat", prompt=None, messages=messages, temperature=0),
        spec("text", prompt=text, temperature=0),
    )
    answered = texts(events)
    assert answered["chat"] == answered["text"]
