"""Log-probabilities, biases, formats and waiting, in chat completions."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel as Form

from tests.contract.openai.support import error, refused
from tests.contract.openai.test_chat import HI, frames_of
from tests.contract.server import (
    BASE,
    Caller,
    ScriptedSampler,
    Server,
    Step,
    delta,
    done,
    failed,
    token,
)
from tunesmith.domain.assignments import SampleRequest
from tunesmith.wire import streams


class City(Form):
    name: str
    hills: int


ROME = '{"name":"Rome","hills":7}'
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}


def spell_out(request: SampleRequest) -> list[Step]:
    return [
        delta(request, "a", token("a", -0.5, a=-0.5, b=-1)),
        delta(request, "é", token(b"\xc3", -1), token(b"\xa9", float("-inf"))),
        done(request),
    ]


LISTED = [
    {
        "token": "a",
        "logprob": -0.5,
        "bytes": [97],
        "top_logprobs": [
            {"token": "a", "logprob": -0.5, "bytes": [97]},
            {"token": "b", "logprob": -1.0, "bytes": [98]},
        ],
    },
    {"token": "\ufffd", "logprob": -1.0, "bytes": [195], "top_logprobs": []},
    {"token": "\ufffd", "logprob": -9999.0, "bytes": [169], "top_logprobs": []},
]


def test_log_probabilities_are_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    sampler.script = spell_out
    body = {"model": BASE, "messages": HI, "logprobs": True, "top_logprobs": 2}
    (choice,) = http.post("/chat/completions", json=body).json()["choices"]
    assert choice["logprobs"] == {"content": LISTED, "refusal": None}
    assert sampler.requests[0].top_logprobs == 2


def test_chunks_have_their_own_log_probabilities(
    http: httpx.Client, client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = spell_out
    body = {"model": BASE, "messages": HI, "logprobs": True, "stream": True}
    *chunks, _ = frames_of(http.post("/chat/completions", json=body))
    given = [chunk["choices"][0]["logprobs"] for chunk in chunks]
    assert given == [
        None,
        {"content": LISTED[:1], "refusal": None},
        {"content": LISTED[1:], "refusal": None},
        None,
    ]
    with client.chat.completions.stream(model=BASE, messages=HI, logprobs=True) as stream:
        answer = stream.get_final_completion()
    assert answer.choices[0].logprobs is not None
    assert len(answer.choices[0].logprobs.content or ()) == 3


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [({}, None), ({"logprobs": False}, None), ({"logprobs": True}, 0), ({"top_logprobs": 0}, None)],
)
def test_log_probabilities_are_drawn_when_wanted(
    client: openai.OpenAI, sampler: ScriptedSampler, fields: dict[str, Any], wanted: int | None
) -> None:
    sampler.script = spell_out
    answer = client.chat.completions.create(model=BASE, messages=HI, **fields)
    assert sampler.requests[0].top_logprobs == wanted
    assert (answer.choices[0].logprobs is None) == (wanted is None)


def test_biases_reach_the_model(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    client.chat.completions.create(model=BASE, messages=HI, logit_bias={"17": -100, "3": 5})
    assert sampler.requests[0].logit_bias == {17: -100.0, 3: 5.0}


def test_as_many_choices_as_documented(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    answer = client.chat.completions.create(model=BASE, messages=HI, n=128)
    assert [choice.index for choice in answer.choices] == list(range(128))


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}, SCHEMA),
        (
            {
                "type": "json_schema",
                "json_schema": {
                    "name": "x-1_Y",
                    "schema": SCHEMA,
                    "strict": True,
                    "description": "Of cities.",
                },
            },
            SCHEMA,
        ),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, {"type": "object"}),
    ],
)
def test_the_format_reaches_the_model(
    client: openai.OpenAI, sampler: ScriptedSampler, given: Any, schema: Any
) -> None:
    client.chat.completions.create(model=BASE, messages=HI, response_format=given)
    assert sampler.requests[0].json_schema == schema


def test_the_client_parses_what_it_asked_for(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, ROME), done(request)]
    answer = client.chat.completions.parse(model=BASE, messages=HI, response_format=City)
    assert answer.choices[0].message.parsed == City(name="Rome", hills=7)
    schema = sampler.requests[0].json_schema
    assert schema is not None
    assert schema["required"] == ["name", "hills"]
    with client.chat.completions.stream(model=BASE, messages=HI, response_format=City) as stream:
        streamed = stream.get_final_completion()
    assert streamed.choices[0].message.parsed == City(name="Rome", hills=7)


def test_a_refused_schema_is_the_formats_fault(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "bad_schema", "No `not`.")]
    form: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}
    with refused(400, error("No `not`.", param="response_format")):
        client.chat.completions.create(model=BASE, messages=HI, response_format=form)


def test_an_async_client_is_answered_too(
    server: Server, caller: Caller, sampler: ScriptedSampler
) -> None:
    async def ask() -> tuple[str | None, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key=caller.secret, _strict_response_validation=True
        ) as client:
            answer = await client.chat.completions.create(model=BASE, messages=HI)
            chunks = await client.chat.completions.create(model=BASE, messages=HI, stream=True)
            texts = [chunk.choices[0].delta.content async for chunk in chunks]
        return answer.choices[0].message.content, "".join(text or "" for text in texts)

    assert asyncio.run(ask()) == ("Hello", "Hello")


def test_the_fingerprint_is_the_models(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {"model": BASE, "messages": HI}
    prints = {
        http.post("/chat/completions", json=body).json()["system_fingerprint"] for _ in range(2)
    }
    assert len(prints) == 1
    assert prints.pop().startswith("fp_")


@pytest.fixture
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)


@pytest.mark.usefixtures("impatience")
def test_a_stream_that_waits_is_kept_alive(
    http: httpx.Client, client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [0.2, delta(request, "a"), 0.2, done(request)]
    body = {"model": BASE, "messages": HI, "stream": True}
    answer = http.post("/chat/completions", json=body)
    first, *_ = events = answer.text.removesuffix("\n\n").split("\n\n")
    assert '"role":"assistant"' in first
    assert events[1] == ": keep-alive"
    index = next(i for i, event in enumerate(events) if '"content":"a"' in event)
    assert events[index + 1] == ": keep-alive"
    assert events[-1] == "data: [DONE]"
    stream = client.chat.completions.create(model=BASE, messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == "a"


@pytest.mark.usefixtures("impatience")
def test_what_fails_after_long_waiting_is_said_in_the_stream(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [0.2, failed(request, "prompt_too_long", "600 tokens.")]
    answer = http.post("/chat/completions", json={"model": BASE, "messages": HI, "stream": True})
    assert answer.status_code == 200
    last = answer.text.removesuffix("\n\n").split("\n\n")[-1]
    assert json.loads(last.removeprefix("data: ")) == {
        "error": error("600 tokens.", param="messages", code="context_length_exceeded")
    }


@pytest.mark.usefixtures("impatience")
def test_an_answer_that_is_not_streamed_may_take_its_time(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [0.2, delta(request, "a"), done(request)]
    answer = client.chat.completions.create(model=BASE, messages=HI)
    assert answer.choices[0].message.content == "a"


def form(**json_schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": json_schema}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"top_logprobs": 1, "logprobs": False}, "top_logprobs"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"logprobs": 1}, "logprobs"),
        ({"logit_bias": {"x": 1}}, "logit_bias"),
        ({"logit_bias": {"1": -101}}, "logit_bias"),
        ({"response_format": "json_object"}, "response_format"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (form(schema=SCHEMA), "response_format.json_schema.name"),
        (form(name="a b", schema=SCHEMA), "response_format.json_schema.name"),
        (form(name="", schema=SCHEMA), "response_format.json_schema.name"),
        (form(name="a", schema=[]), "response_format.json_schema.schema"),
        (form(name="a", schema={"a": "\ud800"}), "response_format"),
        (form(name="a", schema=SCHEMA, schema_=SCHEMA), "schema_"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str | None
) -> None:
    body = json.dumps({"model": BASE, "messages": HI, **fields})
    answer = http.post("/chat/completions", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
