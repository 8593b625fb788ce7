"""Log-probabilities: each token with the text that it makes; echoed prompts; exact bytes."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import make_tiny_lfm2, make_tiny_llama
from tests.unit.engine.test_answer import tokenizer_with_byte_fallback
from tests.unit.engine.test_grammar import ends
from tests.unit.engine.test_sample import drain, spec, texts
from tunesmith.engine.answer import Answer
from tunesmith.engine.events import SampleEvent, SampleFailed, TextDelta, TokenLogprob
from tunesmith.engine.logprobs import token_logprobs
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import SampleSpec
from tunesmith.engine.vocabulary import Vocabulary


def deltas(events: list[SampleEvent], request_id: str = "a") -> list[TextDelta]:
    return [e for e in events if isinstance(e, TextDelta) and e.request_id == request_id]


def logprobs(events: list[SampleEvent], request_id: str = "a") -> list[TokenLogprob]:
    return [token for delta in deltas(events, request_id) for token in delta.logprobs]


def written(model: BaseModel, text: str, **fields: Any) -> list[SampleEvent]:
    """The events of an answer that is this text."""
    asked = SampleSpec(request_id="a", top_logprobs=0, **fields)
    ids = model.tokenizer(text)["input_ids"]
    answer = Answer(asked, model, [20], len(ids))
    events: list[SampleEvent] = []
    for token_id in ids:
        if answer.finish_reason is None:
            logits = torch.zeros(1, len(model.tokenizer))
            [token] = token_logprobs(model.vocabulary, logits, [token_id], 0)
            events += answer.take(token_id, token)
    return events


def test_each_delta_has_the_tokens_that_its_text_is_made_of(llama: BaseModel) -> None:
    events = written(llama, "né 天気 the weather!")
    assert "".join(delta.text for delta in deltas(events)) == "né 天気 the weather!"
    for delta in deltas(events):
        assert b"".join(bytes(t.token_bytes) for t in delta.logprobs) == delta.text.encode()
    halves = [t for t in logprobs(events) if t.token == "\ufffd"]
    assert halves
    assert all(len(t.token_bytes) == 1 for t in halves)


def test_tokens_wait_with_text_that_may_become_a_stop_string(llama: BaseModel) -> None:
    events = written(llama, "abc XY abc", stop=("XYZ",))
    assert [delta.text for delta in deltas(events)] == ["a", "b", "c", " ", "XY a", "b", "c"]
    assert [t.token for t in deltas(events)[4].logprobs] == ["X", "Y", " a"]


def test_tokens_that_a_stop_string_cuts_off_are_not_reported(llama: BaseModel) -> None:
    events = written(llama, "abc XYZ def", stop=("XYZ",))
    assert "".join(t.token for t in logprobs(events)) == "abc "
    assert ends(events) == {"a": "stop"}


def test_half_a_character_at_the_end_is_reported_though_it_is_no_text(llama: BaseModel) -> None:
    asked = SampleSpec(request_id="a", top_logprobs=0)
    ids = llama.tokenizer("sea 気")["input_ids"][:-1]
    answer = Answer(asked, llama, [20], len(ids))
    events: list[SampleEvent] = []
    for token_id in ids:
        [token] = token_logprobs(llama.vocabulary, torch.zeros(1, 400), [token_id], 0)
        events += answer.take(token_id, token)
    assert "".join(delta.text for delta in deltas(events)) == "sea "
    assert len(logprobs(events)) == len(ids)


def test_the_end_token_is_not_reported(llama: BaseModel) -> None:
    [end_id] = llama.end_of_text_ids
    events = drain(Sampler(llama), spec("a", logit_bias={end_id: 100.0}, top_logprobs=3))
    assert (logprobs(events), ends(events)) == ([], {"a": "stop"})


def test_bytes_are_exact_in_every_kind_of_tokenizer(llama: BaseModel) -> None:
    fallback = tokenizer_with_byte_fallback()
    vocabulary = Vocabulary(fallback)
    told = [vocabulary.token(i) for i in fallback.convert_tokens_to_ids(["▁sea", "<0xE6>", "a"])]
    assert told == [(" sea", tuple(b" sea")), ("\ufffd", (0xE6,)), ("a", (97,))]
    ids = llama.tokenizer("weather 気<|user|>")["input_ids"]
    exact = b"".join(bytes(llama.vocabulary.token(i)[1]) for i in ids)
    assert exact.decode() == "weather 気<|user|>"
    assert llama.vocabulary.token(10**6) == ("", ())


def test_log_probabilities_are_the_models_own_whatever_the_drawing(llama: BaseModel) -> None:
    changed = {"logit_bias": {40: 100.0}, "temperature": 0.3, "presence_penalty": 1.0}
    events = drain(Sampler(llama), spec("a", top_logprobs=2, max_tokens=1, **changed))
    [token] = logprobs(events)
    assert token.token_bytes == llama.vocabulary.token(40)[1]
    assert token.logprob is not None
    assert token.logprob < token.top[0].logprob < 0
    plain = drain(Sampler(llama), spec("a", top_logprobs=2, max_tokens=1, temperature=0))
    assert logprobs(plain)[0].top == pytest.approx(token.top)


def test_an_impossible_token_has_a_number_too(llama: BaseModel) -> None:
    logits = torch.tensor([[0.0, -torch.inf]])
    [token] = token_logprobs(llama.vocabulary, logits, [1], 2)
    assert token.logprob == -9999.0


@pytest.mark.parametrize("token_id", [-1, 384, 10**9])
def test_a_bias_on_a_token_that_is_not_there_fails_its_request(
    llama: BaseModel, token_id: int
) -> None:
    events = drain(Sampler(llama), spec("a", logit_bias={token_id: 1.0}), spec("good"))
    [failed] = [e for e in events if isinstance(e, SampleFailed)]
    assert (failed.request_id, failed.code) == ("a", "bad_logit_bias")
    assert str(token_id) in failed.message


@pytest.mark.parametrize("temperature", [0.0, 1.0, 1e-300])
def test_a_bias_forbids_and_forces_tokens(llama: BaseModel, temperature: float) -> None:
    fields = {"temperature": temperature, "max_tokens": 3, "top_logprobs": 0}
    forced = drain(Sampler(llama), spec("a", logit_bias={40: 100.0}, **fields))
    assert {t.token_bytes for t in logprobs(forced)} == {llama.vocabulary.token(40)[1]}
    likeliest = drain(Sampler(llama), spec("a", **{**fields, "temperature": 0.0}))
    first = logprobs(likeliest)[0].token_bytes
    [first_id] = [i for i in range(384) if llama.vocabulary.token(i)[1] == first]
    forbidden = drain(Sampler(llama), spec("a", logit_bias={first_id: -100.0}, **fields))
    assert first not in {t.token_bytes for t in logprobs(forbidden)}


@pytest.mark.parametrize("make", [make_tiny_llama, make_tiny_lfm2])
def test_an_echoed_prompt_comes_first_and_whole(make: Any, tmp_path: Path) -> None:
    model = BaseModel.load(make(tmp_path / "model"))
    prompt = "  né the weather <|user|> "
    ids = model.tokenizer(prompt)["input_ids"]
    asked = [
        spec("text", prompt, echo=True, top_logprobs=1, max_tokens=0),
        spec("ids", prompt=None, prompt_token_ids=ids, echo=True, top_logprobs=1, max_tokens=0),
        spec("silent", prompt, echo=True, max_tokens=2, ignore_end_of_text=True),
        spec("nothing", prompt, max_tokens=0),
        spec("empty", "", echo=True, top_logprobs=1, max_tokens=0),
    ]
    events = drain(Sampler(model, max_prefill_tokens=16), *asked)
    assert ends(events) == dict.fromkeys([one.request_id for one in asked], "length")
    for name in ("text", "ids"):
        [delta] = deltas(events, name)
        assert delta.text == prompt
        assert "".join(t.token for t in delta.logprobs if t.token != "\ufffd")[:2] == "  "
        assert [t.logprob is None for t in delta.logprobs] == [True] + [False] * (len(ids) - 1)
    # Their prompts are read in other pieces, so the last bits may differ.
    of_text, of_ids = logprobs(events, "text"), logprobs(events, "ids")
    assert [t.token_bytes for t in of_text] == [t.token_bytes for t in of_ids]
    values = [t.logprob for t in of_ids[1:]]
    assert [t.logprob for t in of_text[1:]] == pytest.approx(values, abs=1e-5)
    assert texts(events)["silent"].startswith(prompt)
    assert logprobs(events, "silent") == []
    assert deltas(events, "nothing") == []
    assert [(d.text, d.logprobs) for d in deltas(events, "empty")] == [("", ())]


def test_a_prompt_as_long_as_the_context_can_be_scored_but_not_continued(llama: BaseModel) -> None:
    prompt = {"prompt": None, "prompt_token_ids": [30] * llama.context_length, "echo": True}
    scored = spec("scored", max_tokens=0, top_logprobs=0, **prompt)
    events = drain(Sampler(llama), scored, spec("continued", max_tokens=1, **prompt))
    assert len(logprobs(events, "scored")) == llama.context_length
    [failed] = [e for e in events if isinstance(e, SampleFailed)]
    assert (failed.request_id, failed.code) == ("continued", "prompt_too_long")


def test_asking_for_log_probabilities_changes_no_seeded_answer(llama: BaseModel) -> None:
    fields = {"max_tokens": 30, "seed": 9, "top_p": 0.9, "frequency_penalty": 0.5}
    plain = texts(drain(Sampler(llama), spec("a", **fields)))
    among = drain(
        Sampler(llama),
        spec("b", json_schema={"type": "object"}, max_tokens=20),
        spec("a", top_logprobs=20, **fields),
        spec("c", temperature=0, max_tokens=9),
    )
    assert texts(among)["a"] == plain["a"]
    assert all(len(token.top) == 20 for token in logprobs(among))
