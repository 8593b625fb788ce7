import math

import pytest

from tunesmith.engine.embed import Embedder
from tunesmith.engine.events import Embedded, SampleEvent, SampleFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import EmbedSpec, LoraSpec


def drain(embedder: Embedder, *specs: EmbedSpec) -> list[SampleEvent]:
    for one in specs:
        embedder.submit(one)
    events = []
    while not embedder.is_idle:
        events += embedder.step()
    return events


def embeddings(events: list[SampleEvent]) -> dict[str, tuple[float, ...]]:
    return {e.request_id: e.embedding for e in events if isinstance(e, Embedded)}


def test_a_text_among_others_has_the_embedding_that_it_has_alone(llama: BaseModel) -> None:
    specs = [EmbedSpec(request_id=str(n), text="the sea " * (3 * n + 1)) for n in range(6)]
    together = embeddings(drain(Embedder(llama), *specs))
    assert len(together) == 6
    for one in specs:
        [alone] = embeddings(drain(Embedder(llama), one)).values()
        assert together[one.request_id] == pytest.approx(alone, abs=1e-6)
        assert math.fsum(x * x for x in alone) == pytest.approx(1.0)


def test_text_and_its_token_ids_are_the_same(llama: BaseModel) -> None:
    ids = llama.tokenizer("the weather")["input_ids"]
    events = drain(
        Embedder(llama),
        EmbedSpec(request_id="text", text="the weather"),
        EmbedSpec(request_id="ids", token_ids=ids),
    )
    told = embeddings(events)
    assert told["text"] == pytest.approx(told["ids"], abs=1e-6)
    assert {e.prompt_tokens for e in events if isinstance(e, Embedded)} == {len(ids)}


def test_bad_texts_fail_alone(llama: BaseModel) -> None:
    events = drain(
        Embedder(llama),
        EmbedSpec(request_id="good", text="the sea"),
        EmbedSpec(request_id="empty", text=""),
        EmbedSpec(request_id="ids", token_ids=[10**6]),
        EmbedSpec(request_id="long", token_ids=[30] * (llama.context_length + 1)),
        EmbedSpec(request_id="adapter", text="the sea", adapter_id="missing"),
    )
    failed = {e.request_id: e.code for e in events if isinstance(e, SampleFailed)}
    assert failed == {
        "empty": "bad_conversation",
        "ids": "bad_conversation",
        "long": "prompt_too_long",
        "adapter": "adapter_not_loaded",
    }
    assert embeddings(events).keys() == {"good"}


def test_an_adapter_taken_away_fails_its_texts_and_no_others(llama: BaseModel) -> None:
    llama.adapters.create("tuned", LoraSpec(rank=2), seed=1)
    embedder = Embedder(llama)
    embedder.submit(EmbedSpec(request_id="tuned", text="the sea", adapter_id="tuned"))
    embedder.submit(EmbedSpec(request_id="base", text="the sea"))
    llama.adapters.remove("tuned")
    events = drain(embedder)
    assert embeddings(events).keys() == {"base"}
    assert [e.code for e in events if isinstance(e, SampleFailed)] == ["adapter_not_loaded"]
