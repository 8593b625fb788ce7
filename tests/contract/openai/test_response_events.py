"""The Responses API, streamed: named and numbered events."""

import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel as Form

from tests.contract.openai.test_responses import TIME, USAGE, WEATHER, call_both
from tests.contract.server import BASE, ScriptedSampler, called, delta, done, failed, token
from tunesmith.domain.errors import QuotaExceeded
from tunesmith.wire import streams

ASKED = {"model": BASE, "input": "Hi.", "stream": True}
OPENING = ["response.created", "response.in_progress"]
TEXT = [
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]
CALL = [
    "response.output_item.added",
    "response.function_call_arguments.delta",
    "response.function_call_arguments.done",
    "response.output_item.done",
]


def events_of(answer: httpx.Response) -> list[Any]:
    """Each event's data; its name is that in the data, and the numbers count from 0."""
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = []
    for block in answer.text.removesuffix("\n\n").split("\n\n"):
        name, _, data = block.partition("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    return events


def types_of(events: list[Any]) -> list[str]:
    return [event["type"] for event in events]


def test_a_streamed_message_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    events = events_of(http.post("/responses", json=ASKED))
    text = [*TEXT[:3], *TEXT[2:]]
    assert types_of(events) == [*OPENING, *text, "response.completed"]
    id = events[2]["item"]["id"]
    content = {"type": "output_text", "annotations": [], "logprobs": []}
    place = {"item_id": id, "output_index": 0, "content_index": 0}
    item = {"type": "message", "id": id, "role": "assistant"}
    whole = {**item, "status": "completed", "content": [{**content, "text": "Hello"}]}
    told = [
        {name: value for name, value in event.items() if name not in ("type", "sequence_number")}
        for event in events[2:-1]
    ]
    assert told == [
        {"output_index": 0, "item": {**item, "status": "in_progress", "content": []}},
        {**place, "part": {**content, "text": ""}},
        {**place, "delta": "Hel", "logprobs": []},
        {**place, "delta": "lo", "logprobs": []},
        {**place, "text": "Hello", "logprobs": []},
        {**place, "part": {**content, "text": "Hello"}},
        {"output_index": 0, "item": whole},
    ]
    begun, completed = events[0]["response"], events[-1]["response"]
    assert (begun["status"], begun["output"], begun["usage"]) == ("in_progress", [], None)
    assert (completed["status"], completed["output"]) == ("completed", [whole])
    assert completed["usage"] == USAGE
    assert begun["id"] == completed["id"]


def test_streamed_calls_are_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    sampler.script = call_both
    body = ASKED | {"tools": [WEATHER, TIME]}
    events = events_of(http.post("/responses", json=body))
    assert types_of(events) == [*OPENING, *TEXT, *CALL, *CALL, "response.completed"]
    added, argued, given, ended = events[8:12]
    id, call_id = added["item"]["id"], added["item"]["call_id"]
    item = {"type": "function_call", "id": id, "call_id": call_id, "name": "weather"}
    assert added["item"] == {**item, "arguments": "", "status": "in_progress"}
    assert (argued["item_id"], argued["delta"]) == (id, '{"city": "Rome"}')
    assert (given["item_id"], given["arguments"]) == (id, '{"city": "Rome"}')
    assert ended["item"] == {**item, "arguments": '{"city": "Rome"}', "status": "completed"}
    assert [event["output_index"] for event in events[2:-1]] == [0] * 6 + [1] * 4 + [2] * 4
    output = events[-1]["response"]["output"]
    assert [item["type"] for item in output] == ["message", "function_call", "function_call"]


def test_the_client_puts_a_stream_together(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    sampler.script = call_both
    with client.responses.stream(model=BASE, input="Hi.", tools=[WEATHER, TIME]) as stream:
        texts = [event.delta for event in stream if event.type == "response.output_text.delta"]
        answer = stream.get_final_response()
    assert texts == ["Let me see."]
    assert answer.output_text == "Let me see."
    calls = [item for item in answer.output if item.type == "function_call"]
    assert [call.name for call in calls] == ["weather", "time"]


def test_every_event_is_what_the_client_takes_it_for(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = call_both
    stream = client.responses.create(model=BASE, input="Hi.", tools=[WEATHER, TIME], stream=True)
    kinds = [event.type for event in stream]
    assert kinds == [*OPENING, *TEXT, *CALL, *CALL, "response.completed"]


def test_the_client_parses_a_stream(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    class City(Form):
        name: str

    sampler.script = lambda request: [delta(request, '{"name":"Rome"}'), done(request)]
    with client.responses.stream(model=BASE, input="Hi.", text_format=City) as stream:
        assert stream.get_final_response().output_parsed == City(name="Rome")


def test_log_probabilities_come_with_their_text(
    client: openai.OpenAI, http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, "a", token("a", -0.5)), done(request)]
    body = ASKED | {"include": ["message.output_text.logprobs"]}
    events = events_of(http.post("/responses", json=body))
    listed = [{"token": "a", "bytes": [97], "logprob": -0.5, "top_logprobs": []}]
    given = [event["logprobs"] for event in events if "logprobs" in event]
    assert given == [listed, listed]
    assert events[-1]["response"]["output"][0]["content"][0]["logprobs"] == listed
    with client.responses.stream(
        model=BASE, input="Hi.", include=["message.output_text.logprobs"]
    ) as stream:
        assert stream.get_final_response().output_text == "a"


def test_log_probabilities_without_text_make_no_message(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [
        called(request, "time", "{}"),
        delta(request, "", token("}", -1)),
        done(request, "tool_calls"),
    ]
    body = ASKED | {"tools": [TIME], "include": ["message.output_text.logprobs"]}
    events = events_of(http.post("/responses", json=body))
    assert types_of(events) == [*OPENING, *CALL, "response.completed"]


def test_an_answer_that_ran_out_of_tokens_is_incomplete(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, "a"), done(request, "length")]
    events = events_of(http.post("/responses", json=ASKED))
    assert types_of(events) == [*OPENING, *TEXT, "response.incomplete"]
    assert events[-2]["item"]["status"] == "incomplete"
    answer = events[-1]["response"]
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert (answer["status"], answer["usage"]) == ("incomplete", USAGE)


def test_an_answer_without_a_word_is_an_empty_message(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [done(request)]
    events = events_of(http.post("/responses", json=ASKED))
    assert types_of(events) == [*OPENING, *TEXT[:2], *TEXT[3:], "response.completed"]
    (item,) = events[-1]["response"]["output"]
    assert item["content"][0]["text"] == ""


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (("prompt_too_long", "600 tokens."), "invalid_prompt", "600 tokens."),
        (("bad_adapter", "Broken."), "server_error", "Broken."),
        (QuotaExceeded("Too much."), "rate_limit_exceeded", "Too much."),
        (
            RuntimeError("secret inside"),
            "server_error",
            "The server had an error while answering.",
        ),
    ],
)
def test_what_fails_later_is_said_in_the_stream(
    http: httpx.Client,
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    failure: Any,
    code: str,
    message: str,
) -> None:
    sampler.script = lambda request: [
        delta(request, "a"),
        failure if isinstance(failure, Exception) else failed(request, *failure),
    ]
    events = events_of(http.post("/responses", json=ASKED))
    assert types_of(events) == [*OPENING, *TEXT[:3], "response.failed"]
    answer = events[-1]["response"]
    assert (answer["status"], answer["usage"]) == ("failed", None)
    assert answer["error"] == {"code": code, "message": message}
    (item,) = answer["output"]
    assert (item["status"], item["content"][0]["text"]) == ("incomplete", "a")
    stream = client.responses.create(model=BASE, input="Hi.", stream=True)
    assert [event.type for event in stream][-1] == "response.failed"


def test_a_stream_that_waits_is_kept_alive(
    http: httpx.Client, sampler: ScriptedSampler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "KEEP_ALIVE_SECONDS", 0.05)
    sampler.script = lambda request: [0.2, delta(request, "a"), done(request)]
    blocks = http.post("/responses", json=ASKED).text.split("\n\n")
    assert blocks[0].startswith("event: response.created\n")
    assert blocks[2] == ": keep-alive"
