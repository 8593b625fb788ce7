"""Completions of plain text, whole and streamed."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import error, refused
from tests.contract.openai.test_chat import frames_of
from tests.contract.server import BASE, ScriptedSampler, Step, delta, done, echo, failed, token
from tunesmith.domain.assignments import SampleOutput, SamplePart, SampleRequest


def test_an_answer_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    answer = http.post("/completions", json={"model": BASE, "prompt": "Once"}).json()
    assert answer["id"].startswith("cmpl-")
    assert answer == {
        "id": answer["id"],
        "object": "text_completion",
        "created": answer["created"],
        "model": BASE,
        "choices": [{"text": "Hello", "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        "system_fingerprint": answer["system_fingerprint"],
    }
    (asked,) = sampler.requests
    assert (asked.prompt, asked.max_tokens, asked.messages) == ("Once", 16, None)


@pytest.mark.parametrize(
    ("prompt", "texts", "token_ids"),
    [
        ("a", ["a"], [None]),
        (["a", "b"], ["a", "b"], [None, None]),
        ([1, 2], [None], [[1, 2]]),
        ([[1, 2], [3]], [None, None], [[1, 2], [3]]),
    ],
)
def test_prompts_are_text_or_token_ids_one_or_many(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    prompt: Any,
    texts: list[Any],
    token_ids: list[Any],
) -> None:
    answer = client.completions.create(model=BASE, prompt=prompt, max_tokens=5)
    assert [choice.index for choice in answer.choices] == list(range(len(texts)))
    assert [asked.prompt for asked in sampler.requests] == texts
    assert [asked.prompt_token_ids for asked in sampler.requests] == token_ids


def test_choices_are_in_the_order_of_prompts(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, f"{request.prompt}!"), done(request)]
    answer = client.completions.create(
        model=BASE, prompt=["a", "b"], n=2, best_of=2, suffix=None, logit_bias={}
    )
    assert [c.text for c in answer.choices] == ["a!", "a!", "b!", "b!"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (14, 12)


def test_what_was_asked_reaches_the_model(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    client.completions.create(
        model=BASE,
        prompt="a",
        max_tokens=5,
        echo=True,
        logprobs=3,
        logit_bias={"5": -100, "7": 1},
        stop="x",
        seed=4,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=1,
        presence_penalty=-1,
    )
    (asked,) = sampler.requests
    assert (asked.max_tokens, asked.echo, asked.top_logprobs) == (5, True, 3)
    assert asked.logit_bias == {5: -100.0, 7: 1.0}
    assert (asked.stop, asked.seed, asked.temperature, asked.top_p) == (("x",), 4, 0.5, 0.9)
    assert (asked.frequency_penalty, asked.presence_penalty) == (1.0, -1.0)


def spell_out(request: SampleRequest) -> list[Step]:
    """An echoed prompt of two tokens, and an answer with a character of two tokens."""
    parts: list[Step] = []
    if request.echo:
        parts.append(echo(request, token("O", None), token("n", -0.5, n=-0.5, m=-1)))
    answered = [token("ce", -0.25, he=-0.125), token(b"\xc3", -1), token(b"\xa9", float("-inf"))]
    return [*parts, delta(request, "ceé", *answered), delta(request, "!", token("!", -2)), END]


END: Any = SampleOutput(
    request_id="",
    part=SamplePart.DONE,
    finish_reason="length",
    prompt_tokens=2,
    completion_tokens=4,
)


def test_log_probabilities_stand_where_their_tokens_do(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = spell_out
    answer = client.completions.create(model=BASE, prompt="On", logprobs=2)
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.model_dump() == {
        "tokens": ["ce", "bytes:\\xc3", "bytes:\\xa9", "!"],
        "token_logprobs": [-0.25, -1.0, -9999.0, -2.0],
        "top_logprobs": [
            {"he": -0.125, "ce": -0.25},
            {"bytes:\\xc3": -1.0},
            {"bytes:\\xa9": -9999.0},
            {"!": -2.0},
        ],
        "text_offset": [0, 2, 2, 3],
    }


@pytest.mark.parametrize("is_streamed", [True, False])
def test_an_echoed_prompt_has_log_probabilities_too(
    http: httpx.Client, sampler: ScriptedSampler, is_streamed: bool
) -> None:
    sampler.script = spell_out
    body = {"model": BASE, "prompt": [1, 2], "logprobs": 1, "echo": True, "stream": is_streamed}
    answer = http.post("/completions", json=body)
    chunks = frames_of(answer)[:-1] if is_streamed else [answer.json()]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert "".join(choice["text"] for choice in choices) == "Onceé!"
    assert choices[-1]["finish_reason"] == "length"
    listed = [choice["logprobs"] for choice in choices if choice["logprobs"]]
    together = {key: [value for each in listed for value in each[key]] for key in listed[0]}
    assert together["text_offset"] == [0, 1, 2, 4, 4, 5]
    assert together["token_logprobs"][:3] == [None, -0.5, -0.25]
    assert together["top_logprobs"][:2] == [None, {"n": -0.5, "m": -1.0}]


def test_a_space_that_the_tokenizer_added_is_not_counted(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [
        delta(request, "Once upon", token(" Once", -1), token(" upon", -1)),
        done(request),
    ]
    answer = client.completions.create(model=BASE, prompt="a", logprobs=0)
    assert answer.choices[0].logprobs is not None
    assert answer.choices[0].logprobs.text_offset == [0, 4]


def test_nothing_but_the_prompt_may_be_wanted(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    client.completions.create(model=BASE, prompt="a", echo=True, max_tokens=0)
    assert (sampler.requests[0].max_tokens, sampler.requests[0].echo) == (0, True)


def test_the_best_are_kept_and_all_are_counted(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    def worse_and_worse(request: SampleRequest) -> list[Step]:
        """Seeds 0 to 3; the shortest has the greatest sum, but not the greatest mean."""
        seed = request.seed or 0
        count, each = {0: (1, -2.0), 1: (4, -1.0), 2: (3, -4.0), 3: (2, -1.5)}[seed]
        prompt = [echo(request, token("p", None), token("p", -9))] if request.echo else []
        answered = [token("x", each) for _ in range(count)]
        return [*prompt, delta(request, str(seed), *answered), done(request)]

    sampler.script = worse_and_worse
    for is_echoed in (False, True):
        answer = client.completions.create(
            model=BASE, prompt="a", n=2, best_of=4, seed=0, echo=is_echoed
        )
        begun = "a" if is_echoed else ""
        assert [choice.text for choice in answer.choices] == [f"{begun}1", f"{begun}3"]
        assert [choice.index for choice in answer.choices] == [0, 1]
        assert answer.choices[0].logprobs is None
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 12)


def test_a_stream_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {
        "model": BASE,
        "prompt": "Once ",
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, last = frames_of(http.post("/completions", json=body))
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert {chunk["system_fingerprint"][:3] for chunk in chunks} == {"fp_"}
    pieces = [(c["text"], c["finish_reason"]) for chunk in chunks for c in chunk["choices"]]
    assert pieces == [("Hel", None), ("lo", None), ("", "stop")]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 3
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_the_client_reads_a_stream(lax_client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    """Whose types have no null for the `finish_reason` of a chunk."""
    stream = lax_client.completions.create(model=BASE, prompt=["a", "b"], stream=True)
    texts = ["", ""]
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.text
    assert texts == ["Hello", "Hello"]


def test_a_prompt_that_is_too_long_is_told_so(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "prompt_too_long", "Too long.")]
    body = error("Too long.", param="prompt", code="context_length_exceeded")
    with refused(400, body):
        client.completions.create(model=BASE, prompt="a")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [True]}, "prompt"),
        ({"prompt": ["a"] * 129}, "n"),
        ({"prompt": ["a"] * 65, "n": 2}, "n"),
        ({"prompt": ["a"] * 65, "best_of": 2}, "n"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": [2**31]}, "prompt"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": ["a", "\ud800"]}, "prompt"),
        ({"stop": "\ud800"}, "stop"),
        ({"best_of": 2, "n": 3}, "best_of"),
        ({"best_of": 21}, "best_of"),
        ({"best_of": 2, "stream": True}, "best_of"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"suffix": "x"}, "suffix"),
        ({"logit_bias": {"a": 1}}, "logit_bias"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"logit_bias": {"-1": 1}}, "logit_bias"),
        ({"logit_bias": {"²": 1}}, "logit_bias"),
        ({"logit_bias": [1]}, "logit_bias"),
        ({"logit_bias": {str(token): 1 for token in range(1025)}}, "logit_bias"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 129}, "n"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": BASE, "prompt": "a", **fields})
    answer = http.post("/completions", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
