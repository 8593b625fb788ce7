"""Chat completions, whole and streamed."""

import json
import socket
from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import error, refused, trained_job, wait_until
from tests.contract.server import (
    ALIAS,
    BASE,
    Caller,
    ScriptedSampler,
    Server,
    Step,
    delta,
    done,
    failed,
)
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.errors import Unavailable

HI: list[Any] = [{"role": "user", "content": "Hi."}]


USAGE = {
    "prompt_tokens": 7,
    "completion_tokens": 3,
    "total_tokens": 10,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 0,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}


def frames_of(answer: httpx.Response) -> list[Any]:
    """What the `data:` lines of an event stream say."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.removesuffix("\n\n").split("\n\n")
    assert all(event.startswith("data: ") for event in events)
    texts = [event.removeprefix("data: ") for event in events]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


def test_an_answer_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    answer = http.post("/chat/completions", json={"model": ALIAS, "messages": HI}).json()
    assert answer["id"].startswith("chatcmpl-")
    assert answer == {
        "id": answer["id"],
        "object": "chat.completion",
        "created": answer["created"],
        "model": BASE,
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hello", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": USAGE,
        "service_tier": "default",
        "system_fingerprint": answer["system_fingerprint"],
    }


def test_what_was_asked_reaches_the_model(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    client.chat.completions.create(
        model=BASE,
        messages=[
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "1", "content": "42"},
        ],
        temperature=0.5,
        top_p=0.9,
        max_tokens=5,
        max_completion_tokens=6,
        frequency_penalty=1,
        presence_penalty=-1,
        stop=["x", "y"],
        seed=7,
    )
    (asked,) = sampler.requests
    assert asked.messages == [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "ab"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "content": "42", "tool_call_id": "1"},
    ]
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0.5, 0.9, 6)
    assert (asked.frequency_penalty, asked.presence_penalty) == (1.0, -1.0)
    assert (asked.stop, asked.seed) == (("x", "y"), 7)
    assert (asked.base_model.name, asked.adapter) == (BASE, None)


def test_a_tuned_model_answers_by_its_name(
    client: openai.OpenAI, worker: Worker, sampler: ScriptedSampler
) -> None:
    job = trained_job(client, worker)
    snapshots = client.fine_tuning.jobs.checkpoints.list(job.id).data
    names = [snapshot.fine_tuned_model_checkpoint for snapshot in snapshots]
    for name in names:
        assert client.chat.completions.create(model=name, messages=HI).model == name
    adapters = [asked.adapter for asked in sampler.requests]
    assert all(adapters)
    assert len({adapter.id for adapter in adapters if adapter}) == len(names)


def test_choices_are_drawn_at_once_and_apart(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    def count(request: SampleRequest) -> list[Step]:
        return [0.05, delta(request, str(request.seed)), done(request, "length")]

    sampler.script = count
    answer = client.chat.completions.create(model=BASE, messages=HI, n=3, seed=5)
    assert [choice.message.content for choice in answer.choices] == ["5", "6", "7"]
    assert {choice.finish_reason for choice in answer.choices} == {"length"}
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (7, 9)


def test_a_stream_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {
        "model": BASE,
        "messages": HI,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, last = frames_of(http.post("/chat/completions", json=body))
    assert last == "[DONE]"
    head = {key: chunks[0][key] for key in ("id", "object", "created", "model")}
    assert {chunk["system_fingerprint"][:3] for chunk in chunks} == {"fp_"}
    assert (head["object"], head["model"]) == ("chat.completion.chunk", BASE)
    assert all(head.items() <= chunk.items() for chunk in chunks)
    deltas = [choice for chunk in chunks for choice in chunk["choices"]]
    assert deltas == [
        {"index": 0, "delta": given, "logprobs": None, "finish_reason": reason}
        for given, reason in (
            ({"role": "assistant", "content": "", "refusal": None}, None),
            ({"content": "Hel"}, None),
            ({"content": "lo"}, None),
            ({}, "stop"),
        )
    ]
    assert [chunk["usage"] for chunk in chunks[:-1]] == [None] * 4
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == USAGE


def test_the_client_reads_a_stream(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    texts = ["", ""]
    for chunk in client.chat.completions.create(model=BASE, messages=HI, n=2, stream=True):
        assert chunk.usage is None
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert texts == ["Hello", "Hello"]


def test_parts_are_sent_as_they_come(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [delta(request, "first"), 30.0, done(request)]
    stream = client.chat.completions.create(model=BASE, messages=HI, stream=True)
    texts = (chunk.choices[0].delta.content for chunk in stream)
    assert next(text for text in texts if text) == "first"
    stream.close()
    wait_until(lambda: sampler.num_cancelled == 1)


@pytest.mark.parametrize("is_streamed", [True, False])
def test_a_client_that_leaves_cancels_all_of_its_answers(
    server: Server, caller: Caller, sampler: ScriptedSampler, is_streamed: bool
) -> None:
    sampler.script = lambda request: [30.0, done(request)]
    body = json.dumps({"model": BASE, "messages": HI, "n": 3, "stream": is_streamed})
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {caller.secret}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall((head + body).encode())
        wait_until(lambda: len(sampler.requests) == 3)
    wait_until(lambda: sampler.num_cancelled == 3)


FAILURES: list[tuple[Any, int, dict[str, Any]]] = [
    (
        ("prompt_too_long", "The prompt has 600 tokens."),
        400,
        error("The prompt has 600 tokens.", param="messages", code="context_length_exceeded"),
    ),
    (("bad_conversation", "No."), 400, error("No.", param="messages")),
    (("bad_logit_bias", "No."), 400, error("No.", param="logit_bias")),
    (("unsupported_model", "No."), 400, error("No.", param="model")),
    (
        ("unavailable", "No room."),
        503,
        error("No room.", code="unavailable", kind="server_error"),
    ),
    (
        ("bad_adapter", "Broken."),
        500,
        error("Broken.", code="bad_adapter", kind="server_error"),
    ),
    (
        Unavailable("No worker is connected."),
        503,
        error("No worker is connected.", code="unavailable", kind="server_error"),
    ),
]


def failing(failure: Any, request: SampleRequest) -> Step:
    return failure if isinstance(failure, Exception) else failed(request, *failure)


@pytest.mark.parametrize(("failure", "status", "body"), FAILURES)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_what_fails_before_the_first_part_is_an_ordinary_error(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    failure: Any,
    status: int,
    body: dict[str, Any],
    is_streamed: bool,
) -> None:
    sampler.script = lambda request: [failing(failure, request)]
    with refused(status, body):
        client.chat.completions.create(model=BASE, messages=HI, stream=is_streamed)


@pytest.mark.parametrize(("failure", "status", "body"), FAILURES)
def test_what_fails_later_is_said_in_the_stream(
    http: httpx.Client,
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    failure: Any,
    status: int,
    body: dict[str, Any],
) -> None:
    sampler.script = lambda request: [delta(request, "a"), failing(failure, request)]
    asked = {"model": BASE, "messages": HI, "stream": True}
    answer = http.post("/chat/completions", json=asked)
    assert answer.status_code == 200
    assert frames_of(answer)[-1] == {"error": body}
    stream = client.chat.completions.create(model=BASE, messages=HI, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_a_busy_server_says_when_to_come_again(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [Unavailable("No worker is connected.")]
    answer = http.post("/chat/completions", json={"model": BASE, "messages": HI})
    assert answer.headers["retry-after"] == "5"


def test_the_first_failure_cancels_the_other_choices(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    def one_fails(request: SampleRequest) -> list[Step]:
        return [30.0] if request.seed else [0.02, failed(request, "bad_adapter", "Broken.")]

    sampler.script = one_fails
    with refused(500):
        client.chat.completions.create(model=BASE, messages=HI, n=3, seed=0)
    wait_until(lambda: sampler.num_cancelled == 2)


UNAVAILABLE: dict[str, Any] = {
    "audio": {"voice": "x", "format": "wav"},
    "modalities": ["text", "audio"],
    "web_search_options": {},
}


@pytest.mark.parametrize(("field", "value"), UNAVAILABLE.items())
def test_what_is_not_available_yet_is_refused_by_name(
    client: openai.OpenAI, field: str, value: Any
) -> None:
    message = f"`{field}` is not available yet; leave it out."
    with refused(400, error(message, param=field)):
        client.chat.completions.create(model=BASE, messages=HI, extra_body={field: value})


def test_fields_that_ask_for_nothing_are_fine(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    optional = ("function_call", "functions", "logprobs", "n", "seed", "stop", "tool_choice")
    neutral: dict[str, Any] = dict.fromkeys((*UNAVAILABLE, *optional, "top_logprobs"))
    neutral |= {"tools": [], "tool_choice": "none", "logprobs": False, "logit_bias": {}}
    neutral |= {"response_format": {"type": "text"}, "modalities": ["text"], "temperature": None}
    ignored = {"user": "u", "store": True, "metadata": {"a": "b"}, "service_tier": "auto"}
    ignored |= {"reasoning_effort": "low", "verbosity": "low", "parallel_tool_calls": True}
    ignored |= {"prompt_cache_key": "k", "safety_identifier": "s"}
    ignored |= {"prediction": {"type": "content", "content": "x"}}
    answer = client.chat.completions.create(model=BASE, messages=HI, extra_body=neutral | ignored)
    assert answer.choices[0].message.content == "Hello"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_completion_tokens": 1.5}, "max_completion_tokens"),
        ({"frequency_penalty": 3}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stop": [1]}, "stop"),
        ({"seed": 2**63}, "seed"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "king", "content": "x"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages.0.content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages",
        ),
        ({"messages": [{"role": "user", "content": "x", "colour": "red"}]}, "colour"),
        ({"colour": "red"}, "colour"),
        ({"colour\ud800": "red"}, "colour\\ud800"),
        ({"model": None}, "model"),
    ],
)
def test_fields_out_of_bounds_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": BASE, "messages": HI, **fields})
    answer = http.post("/chat/completions", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_key_without_the_scope_is_told_so(server: Server, anyone: openai.OpenAI) -> None:
    reader = server.new_caller(frozenset({Scope.FILES_READ}))
    with refused(403):
        anyone.with_options(api_key=reader.secret).chat.completions.create(model=BASE, messages=HI)
