"""The Responses API: whole answers, and what they are asked with."""

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel as Form

from tests.contract.openai.support import error, refused, trained_job
from tests.contract.server import (
    ALIAS,
    BASE,
    Caller,
    ScriptedSampler,
    Server,
    Step,
    called,
    delta,
    done,
    failed,
    token,
)
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.errors import Unavailable

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: Any = {
    "type": "function",
    "name": "weather",
    "description": "Tells it.",
    "parameters": PARAMETERS,
    "strict": True,
}
TIME: Any = {"type": "function", "name": "time", "parameters": None, "strict": None}
SHOWN = [
    {
        "type": "function",
        "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS},
    },
    {"type": "function", "function": {"name": "time"}},
]
USAGE = {
    "input_tokens": 7,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 3,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 10,
}


class City(Form):
    name: str


def call_both(request: SampleRequest) -> list[Step]:
    return [
        delta(request, "Let me see."),
        called(request, "weather", '{"city": "Rome"}'),
        called(request, "time", "{}", index=1),
        done(request, "tool_calls"),
    ]


def test_an_answer_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {"model": ALIAS, "input": "Hi.", "metadata": {"a": "b"}, "instructions": "Be brief."}
    answer = http.post("/responses", json=body).json()
    (message,) = answer["output"]
    assert answer["id"].startswith("resp_")
    assert message["id"].startswith("msg_")
    assert answer["completed_at"] >= answer["created_at"]
    assert answer == {
        "id": answer["id"],
        "object": "response",
        "created_at": answer["created_at"],
        "completed_at": answer["completed_at"],
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": BASE,
        "output": [
            {
                "type": "message",
                "id": message["id"],
                "role": "assistant",
                "status": "completed",
                "content": [
                    {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
                ],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": USAGE,
        "user": None,
        "metadata": {"a": "b"},
    }


def test_the_client_reads_an_answer(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    answer = client.responses.create(
        model=BASE,
        input="Hi.",
        tools=[WEATHER, TIME],
        tool_choice={"type": "function", "name": "time"},
        temperature=0.5,
        max_output_tokens=5,
    )
    assert answer.output_text == "Hello"
    assert answer.tool_choice.model_dump() == {"type": "function", "name": "time"}  # type: ignore[union-attr]
    assert [tool.type for tool in answer.tools] == ["function", "function"]
    assert (answer.temperature, answer.max_output_tokens) == (0.5, 5)


def test_what_was_asked_reaches_the_model(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    client.responses.create(
        model=BASE,
        instructions="Be brief.",
        input=[
            {"role": "developer", "content": "Be kind."},
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a"},
                    {"type": "input_text", "text": "b"},
                ],
            },
        ],
        temperature=0.5,
        top_p=0.9,
        max_output_tokens=6,
        parallel_tool_calls=False,
        top_logprobs=4,
        include=["message.output_text.logprobs"],
    )
    (asked,) = sampler.requests
    assert asked.messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "ab"},
    ]
    assert (asked.temperature, asked.top_p, asked.max_tokens) == (0.5, 0.9, 6)
    assert (asked.parallel_tool_calls, asked.top_logprobs) == (False, 4)
    assert (asked.tools, asked.required_tools, asked.json_schema) == (None, (), None)


def test_what_the_model_did_in_one_turn_is_one_message(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = call_both
    first = client.responses.create(model=BASE, input="Hi.", tools=[WEATHER, TIME])
    given: list[Any] = [{"role": "user", "content": "Hi."}]
    given += [item.model_dump(exclude_none=True) for item in first.output]
    calls = [item for item in first.output if item.type == "function_call"]
    outputs: list[Any] = ["Sunny.", [{"type": "input_text", "text": "Noon."}]]
    given += [
        {"type": "function_call_output", "call_id": call.call_id, "output": output}
        for call, output in zip(calls, outputs, strict=True)
    ]
    given += [{"type": "function_call", "call_id": "x", "name": "time", "arguments": "{}"}]
    client.responses.create(model=BASE, input=given, tools=[WEATHER, TIME])
    assert sampler.requests[1].messages == [
        {"role": "user", "content": "Hi."},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {
                    "id": calls[0].call_id,
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
                },
                {
                    "id": calls[1].call_id,
                    "type": "function",
                    "function": {"name": "time", "arguments": "{}"},
                },
            ],
        },
        {"role": "tool", "tool_call_id": calls[0].call_id, "content": "Sunny."},
        {"role": "tool", "tool_call_id": calls[1].call_id, "content": "Noon."},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "x", "type": "function", "function": {"name": "time", "arguments": "{}"}}
            ],
        },
    ]


def test_calls_are_items_of_their_own(http: httpx.Client, sampler: ScriptedSampler) -> None:
    sampler.script = call_both
    body = {"model": BASE, "input": "Hi.", "tools": [WEATHER, TIME]}
    answer = http.post("/responses", json=body).json()
    message, first, second = answer["output"]
    assert message["content"][0]["text"] == "Let me see."
    assert first["id"].startswith("fc_")
    assert first["call_id"].startswith("call_")
    assert first == {
        "type": "function_call",
        "id": first["id"],
        "call_id": first["call_id"],
        "name": "weather",
        "arguments": '{"city": "Rome"}',
        "status": "completed",
    }
    assert (second["name"], second["arguments"]) == ("time", "{}")
    assert answer["status"] == "completed"


@pytest.mark.parametrize(
    ("choice", "offered", "required"),
    [
        ("auto", SHOWN, ()),
        ("none", None, ()),
        ("required", SHOWN, ("weather", "time")),
        ({"type": "function", "name": "time"}, SHOWN, ("time",)),
        (
            {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "time"}],
            },
            SHOWN[1:],
            (),
        ),
        (
            {
                "type": "allowed_tools",
                "mode": "required",
                "tools": [{"type": "function", "name": "time"}],
            },
            SHOWN,
            ("time",),
        ),
    ],
)
def test_the_choice_of_tools_reaches_the_model_and_comes_back(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    choice: Any,
    offered: Any,
    required: tuple[str, ...],
) -> None:
    answer = client.responses.create(
        model=BASE, input="Hi.", tools=[WEATHER, TIME], tool_choice=choice
    )
    (asked,) = sampler.requests
    assert (asked.tools, asked.required_tools) == (offered, required)
    assert json.loads(answer.to_json(exclude_unset=True))["tool_choice"] == choice


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}}
JSON_SCHEMA = {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}


@pytest.mark.parametrize(
    ("given", "schema"),
    [
        ({"type": "text"}, None),
        ({"type": "json_object"}, {"type": "object"}),
        (JSON_SCHEMA, SCHEMA),
    ],
)
def test_the_format_reaches_the_model_and_comes_back(
    client: openai.OpenAI, sampler: ScriptedSampler, given: Any, schema: Any
) -> None:
    answer = client.responses.create(model=BASE, input="Hi.", text={"format": given})
    assert sampler.requests[0].json_schema == schema
    assert answer.text is not None
    assert answer.text.format is not None
    assert answer.text.format.model_dump(exclude_unset=True, by_alias=True) == given


def test_the_client_parses_what_it_asked_for(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, '{"name":"Rome"}'), done(request)]
    answer = client.responses.parse(model=BASE, input="Hi.", text_format=City)
    assert answer.output_parsed == City(name="Rome")
    assert (sampler.requests[0].json_schema or {})["required"] == ["name"]


@pytest.mark.parametrize(
    "fields", [{"include": ["message.output_text.logprobs"]}, {"top_logprobs": 1}]
)
def test_log_probabilities_come_with_the_text(
    client: openai.OpenAI, sampler: ScriptedSampler, fields: dict[str, Any]
) -> None:
    sampler.script = lambda request: [delta(request, "a", token("a", -0.5, a=-0.5)), done(request)]
    answer = client.responses.create(model=BASE, input="Hi.", **fields)
    (message,) = answer.output
    assert message.type == "message"
    (content,) = message.content
    assert content.model_dump()["logprobs"] == [
        {
            "token": "a",
            "bytes": [97],
            "logprob": -0.5,
            "top_logprobs": [{"token": "a", "bytes": [97], "logprob": -0.5}],
        }
    ]
    assert sampler.requests[0].top_logprobs == fields.get("top_logprobs", 0)


def test_an_answer_that_ran_out_of_tokens_is_incomplete(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, "a"), done(request, "length")]
    answer = client.responses.create(model=BASE, input="Hi.")
    assert (answer.status, answer.completed_at) == ("incomplete", None)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    (message,) = answer.output
    assert message.type == "message"
    assert message.status == "incomplete"
    assert answer.usage is not None


def test_a_tuned_model_answers_by_its_name(
    client: openai.OpenAI, worker: Worker, sampler: ScriptedSampler
) -> None:
    job = trained_job(client, worker)
    checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[1]
    for name in (job.fine_tuned_model or "", checkpoint.fine_tuned_model_checkpoint):
        assert client.responses.create(model=name, input="Hi.").model == name
    assert all(asked.adapter for asked in sampler.requests)


def test_an_async_client_is_answered_too(
    server: Server, caller: Caller, sampler: ScriptedSampler
) -> None:
    async def ask() -> tuple[str, str]:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1", api_key=caller.secret, _strict_response_validation=True
        ) as client:
            answer = await client.responses.create(model=BASE, input="Hi.")
            async with client.responses.stream(model=BASE, input="Hi.") as stream:
                streamed = await stream.get_final_response()
        return answer.output_text, streamed.output_text

    assert asyncio.run(ask()) == ("Hello", "Hello")


@pytest.mark.parametrize(
    ("failure", "status", "body"),
    [
        (
            ("prompt_too_long", "600 tokens."),
            400,
            error("600 tokens.", param="input", code="context_length_exceeded"),
        ),
        (("bad_conversation", "No."), 400, error("No.", param="input")),
        (("bad_schema", "No."), 400, error("No.", param="text.format")),
        (
            Unavailable("No worker is connected."),
            503,
            error("No worker is connected.", code="unavailable", kind="server_error"),
        ),
    ],
)
@pytest.mark.parametrize("is_streamed", [True, False])
def test_what_fails_before_the_first_part_is_an_ordinary_error(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    failure: Any,
    status: int,
    body: dict[str, Any],
    is_streamed: bool,
) -> None:
    def fail(request: SampleRequest) -> list[Step]:
        return [failure if isinstance(failure, Exception) else failed(request, *failure)]

    sampler.script = fail
    with refused(status, body):
        client.responses.create(model=BASE, input="Hi.", stream=is_streamed)


def test_refused_parameters_are_the_tools_fault(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "bad_schema", "Too deep.")]
    with refused(400, error("Too deep.", param="tools")):
        client.responses.create(model=BASE, input="Hi.", tools=[TIME], tool_choice="required")


def test_responses_are_not_kept(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    id = client.responses.create(model=BASE, input="Hi.", store=True).id
    message = f"No such response: {id}. Responses are not kept on this server."
    body = error(message, code="unknown_url")
    with refused(404, body):
        client.responses.retrieve(id)
    with refused(404, body):
        client.responses.delete(id)
    with refused(404, body):
        client.responses.cancel(id)
    with refused(404, body):
        client.responses.input_items.list(id)


@pytest.mark.parametrize("path", ["/responses/compact", "/responses/input_tokens"])
def test_what_is_not_available_says_so(http: httpx.Client, path: str) -> None:
    answer = http.post(path, json={"model": BASE, "input": "Hi."})
    assert answer.status_code == 404
    message = f"POST /v1{path} is not available on this server."
    assert answer.json() == {"error": error(message, code="unknown_url")}


UNAVAILABLE: dict[str, Any] = {
    "background": True,
    "context_management": [{"type": "compaction"}],
    "conversation": "conv_1",
    "previous_response_id": "resp_1",
    "prompt": {"id": "pmpt_1"},
    "truncation": "auto",
}


@pytest.mark.parametrize(("field", "value"), UNAVAILABLE.items())
def test_what_is_not_available_yet_is_refused_by_name(
    client: openai.OpenAI, field: str, value: Any
) -> None:
    message = f"`{field}` is not available yet; leave it out."
    with refused(400, error(message, param=field)):
        client.responses.create(model=BASE, input="Hi.", extra_body={field: value})


def test_fields_that_ask_for_nothing_are_fine(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    optional = ("instructions", "include", "max_output_tokens", "metadata", "text", "tools")
    neutral: dict[str, Any] = dict.fromkeys((*UNAVAILABLE, *optional, "tool_choice", "stream"))
    neutral |= {"background": False, "truncation": "disabled", "tools": [], "temperature": None}
    neutral |= {"include": ["reasoning.encrypted_content"]}
    ignored = {"user": "u", "store": True, "service_tier": "auto", "reasoning": {"effort": "low"}}
    ignored |= {"prompt_cache_key": "k", "safety_identifier": "s", "max_tool_calls": 3}
    answer = client.responses.create(model=BASE, input="Hi.", extra_body=neutral | ignored)
    assert answer.output_text == "Hello"
    assert sampler.requests[0].top_logprobs is None


def said(**item: Any) -> dict[str, Any]:
    return {"input": [item]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["a"]}, "input.0"),
        ({"input": "\ud800"}, "input"),
        (said(role="user"), "input"),
        (said(content="x"), "input"),
        (said(role="tool", content="x"), "input.0.role"),
        (said(role="user", content=5), "input.0.content"),
        (said(role="user", content=["x"]), "input"),
        (said(role="user", content=[{"type": {}}]), "input"),
        (said(role="user", content=[{"type": "input_text"}]), "input"),
        (said(role="user", content=[{"type": "input_image", "image_url": "x"}]), "input"),
        (said(role="user", content=[{"type": "input_file", "file_id": "x"}]), "input"),
        (said(role="user", content="x", colour="red"), "colour"),
        (said(type="item_reference", id="x"), "input"),
        (said(type="reasoning"), "input"),
        (said(type="function_call", name="f", arguments="{}"), "input"),
        (said(type="function_call_output", call_id="x"), "input"),
        ({"instructions": 5}, "instructions"),
        ({"temperature": 2.5}, "temperature"),
        ({"top_p": 2}, "top_p"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "schema": {}}}}, "text.format"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"text": {"format": JSON_SCHEMA | {"name": "a b"}}}, "text.format.name"),
        ({"text": "json"}, "text"),
        ({"tools": [{"type": "web_search", "search_context_size": "low"}]}, "tools"),
        ({"tools": [{"name": "f"}]}, "tools.0.type"),
        (said(type="", role="user", content="x"), "input.0.type"),
        (said(type=5, role="user", content="x"), "input.0.type"),
        ({"tools": [{"type": "function"}]}, "tools.0.name"),
        ({"tools": [TIME | {"defer_loading": True}]}, "defer_loading"),
        ({"tools": [TIME] * 129}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "allowed_tools"}}, "tool_choice"),
        ({"include": ["all"]}, "include.0"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"metadata": {str(n): "x" for n in range(17)}}, "metadata"),
        ({"metadata": {"a": "x" * 513}}, "metadata.a"),
        ({"stop": ["x"]}, "stop"),
        ({"n": 2}, "n"),
        ({"model": 5}, "model"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": BASE, "input": "Hi.", **fields})
    answer = http.post("/responses", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_key_without_the_scope_is_told_so(server: Server, anyone: openai.OpenAI) -> None:
    reader = server.new_caller(frozenset({Scope.FILES_READ}))
    with refused(403):
        anyone.with_options(api_key=reader.secret).responses.create(model=BASE, input="Hi.")
