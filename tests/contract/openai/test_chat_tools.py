"""Tools and functions in chat completions: asked for, called, streamed, answered."""

import json
from typing import Any

import httpx
import openai
import pytest
from pydantic import BaseModel as Form

from tests.contract.openai.support import error, refused
from tests.contract.openai.test_chat import HI, frames_of
from tests.contract.server import BASE, ScriptedSampler, Step, called, delta, done, failed
from tunesmith.domain.assignments import SampleRequest

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}}
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells it.",
        "parameters": PARAMETERS,
        "strict": True,
    },
}
TIME: Any = {"type": "function", "function": {"name": "time"}}
SHOWN = {
    "type": "function",
    "function": {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS},
}


def call_both(request: SampleRequest) -> list[Step]:
    return [
        delta(request, "Let me see."),
        called(request, "weather", '{"city": "Rome"}'),
        called(request, "time", "{}", index=1),
        done(request, "tool_calls"),
    ]


def call_weather(request: SampleRequest) -> list[Step]:
    return [called(request, "weather", '{"city": "Rome"}'), done(request, "tool_calls")]


def test_calls_are_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    sampler.script = call_both
    body = {"model": BASE, "messages": HI, "tools": [WEATHER, TIME]}
    (choice,) = http.post("/chat/completions", json=body).json()["choices"]
    ids = [call["id"] for call in choice["message"]["tool_calls"]]
    assert len(set(ids)) == 2
    assert all(id.startswith("call_") and len(id) == 29 for id in ids)
    assert choice == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "Let me see.",
            "refusal": None,
            "tool_calls": [
                {
                    "id": ids[0],
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city": "Rome"}'},
                },
                {"id": ids[1], "type": "function", "function": {"name": "time", "arguments": "{}"}},
            ],
        },
        "logprobs": None,
        "finish_reason": "tool_calls",
    }


def test_a_call_without_text_has_null_content(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = call_weather
    answer = client.chat.completions.create(model=BASE, messages=HI, tools=[WEATHER])
    assert answer.choices[0].message.content is None
    assert answer.choices[0].message.tool_calls


@pytest.mark.parametrize(
    ("choice", "offered", "required"),
    [
        (None, [SHOWN, TIME], ()),
        ("auto", [SHOWN, TIME], ()),
        ("none", None, ()),
        ("required", [SHOWN, TIME], ("weather", "time")),
        ({"type": "function", "function": {"name": "time"}}, [SHOWN, TIME], ("time",)),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TIME]}},
            [TIME],
            (),
        ),
        (
            {"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [TIME]}},
            [SHOWN, TIME],
            ("time",),
        ),
    ],
)
def test_the_choice_of_tools_reaches_the_model(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    choice: Any,
    offered: Any,
    required: tuple[str, ...],
) -> None:
    client.chat.completions.create(
        model=BASE,
        messages=HI,
        tools=[WEATHER, TIME],
        tool_choice=choice,
        parallel_tool_calls=False,
    )
    (asked,) = sampler.requests
    assert (asked.tools, asked.required_tools) == (offered, required)
    assert asked.parallel_tool_calls is False


def test_calls_may_be_parallel_unless_told_otherwise(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    client.chat.completions.create(model=BASE, messages=HI, tools=[TIME])
    assert sampler.requests[0].parallel_tool_calls is True


def test_a_streamed_call_is_named_before_its_arguments(
    http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = call_both
    body = {"model": BASE, "messages": HI, "tools": [WEATHER, TIME], "stream": True}
    *chunks, _ = frames_of(http.post("/chat/completions", json=body))
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    calls = [item for given in deltas for item in given.get("tool_calls", [])]
    assert calls == [
        {
            "index": 0,
            "id": calls[0]["id"],
            "type": "function",
            "function": {"name": "weather", "arguments": ""},
        },
        {"index": 0, "function": {"arguments": '{"city": "Rome"}'}},
        {
            "index": 1,
            "id": calls[2]["id"],
            "type": "function",
            "function": {"name": "time", "arguments": ""},
        },
        {"index": 1, "function": {"arguments": "{}"}},
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_the_client_puts_a_stream_together(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    sampler.script = call_both
    with client.chat.completions.stream(
        model=BASE, messages=HI, tools=[WEATHER, TIME], n=2
    ) as stream:
        kinds = {event.type for event in stream}
        answer = stream.get_final_completion()
    assert {"content.delta", "tool_calls.function.arguments.done"} <= kinds
    for choice in answer.choices:
        assert choice.message.content == "Let me see."
        calls = choice.message.tool_calls or []
        assert [call.function.name for call in calls] == ["weather", "time"]
        assert calls[0].function.arguments == '{"city": "Rome"}'


def test_the_client_parses_the_arguments(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    class Weather(Form):
        city: str

    sampler.script = lambda request: [
        called(request, "Weather", '{"city": "Rome"}'),
        done(request, "tool_calls"),
    ]
    answer = client.chat.completions.parse(
        model=BASE, messages=HI, tools=[openai.pydantic_function_tool(Weather)]
    )
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.parsed_arguments == Weather(city="Rome")


def test_functions_are_the_older_form_of_tools(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = call_weather
    answer = client.chat.completions.create(
        model=BASE, messages=HI, functions=[WEATHER["function"]], function_call={"name": "weather"}
    )
    (asked,) = sampler.requests
    assert (asked.tools, asked.required_tools) == ([SHOWN], ("weather",))
    assert asked.parallel_tool_calls is False
    (choice,) = answer.choices
    assert choice.finish_reason == "function_call"
    assert choice.message.tool_calls is None
    assert choice.message.function_call is not None
    assert choice.message.function_call.model_dump() == {
        "name": "weather",
        "arguments": '{"city": "Rome"}',
    }


@pytest.mark.parametrize(("choice", "offered"), [("auto", [TIME]), ("none", None), (None, [TIME])])
def test_functions_may_be_left_alone(
    client: openai.OpenAI, sampler: ScriptedSampler, choice: Any, offered: Any
) -> None:
    client.chat.completions.create(
        model=BASE, messages=HI, functions=[TIME["function"]], function_call=choice
    )
    assert (sampler.requests[0].tools, sampler.requests[0].required_tools) == (offered, ())


def test_a_streamed_function_call_is_in_the_older_form(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = call_weather
    stream = client.chat.completions.create(
        model=BASE, messages=HI, functions=[WEATHER["function"]], stream=True
    )
    choices = [chunk.choices[0] for chunk in stream]
    calls = [choice.delta.function_call for choice in choices if choice.delta.function_call]
    assert [(call.name, call.arguments) for call in calls] == [
        ("weather", ""),
        (None, '{"city": "Rome"}'),
    ]
    assert choices[-1].finish_reason == "function_call"


def test_a_conversation_with_calls_reaches_the_model(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    call: Any = {"id": "x", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    client.chat.completions.create(
        model=BASE,
        messages=[
            {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "x", "content": [{"type": "text", "text": "42"}]},
            {"role": "assistant", "function_call": {"name": "g", "arguments": "{}"}},
            {"role": "function", "name": "g", "content": "43"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
            {"role": "assistant", "refusal": "Never."},
            {"role": "user", "content": "Why?", "name": "Ann"},
        ],
    )
    function_call = {"id": "call_2", "type": "function", "function": call["function"] | {}}
    function_call["function"] = {"name": "g", "arguments": "{}"}
    assert sampler.requests[0].messages == [
        {"role": "assistant", "content": "One moment.", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "x", "content": "42"},
        {"role": "assistant", "content": None, "tool_calls": [function_call]},
        {"role": "tool", "tool_call_id": "call_2", "name": "g", "content": "43"},
        {"role": "assistant", "content": "No."},
        {"role": "assistant", "content": "Never."},
        {"role": "user", "content": "Why?", "name": "Ann"},
    ]


def test_refused_parameters_are_the_tools_fault(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "bad_schema", "Too deep.")]
    with refused(400, error("Too deep.", param="tools")):
        client.chat.completions.create(
            model=BASE, messages=HI, tools=[WEATHER], tool_choice="required"
        )


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(depth):
        schema = {"properties": schema}
    return schema


def tool(**function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": "f", **function}}


def said(**message: Any) -> dict[str, Any]:
    return {"messages": [message]}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{"type": "custom", "custom": {"name": "f"}}]}, "tools"),
        ({"tools": [{"type": "web_search", "function": {"name": "f"}}]}, "tools"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [tool(name="a b")]}, "tools.0.function.name"),
        ({"tools": [tool(name="a\n")]}, "tools.0.function.name"),
        ({"tools": [tool(name="a" * 65)]}, "tools.0.function.name"),
        ({"tools": [tool(parameters=[])]}, "tools.0.function.parameters"),
        ({"tools": [tool(parameters=nested(100))]}, "tools"),
        ({"tools": [tool(parameters={"a": "\ud800"})]}, "tools"),
        ({"tools": [tool(parameters={"\ud800": 1})]}, "tools"),
        ({"tools": [tool(parameters={"a": float("inf")})]}, "tools"),
        ({"tools": [tool(colour="red")]}, "colour"),
        ({"tools": [TIME] * 129}, "tools"),
        ({"tools": "all"}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": "sometimes"}, "tool_choice.type"),
        ({"tool_choice": 5}, "tool_choice"),
        ({"tools": [TIME], "tool_choice": {"type": "function"}}, "tool_choice"),
        (
            {"tools": [TIME], "tool_choice": {"type": "function", "function": {"name": "f"}}},
            "tool_choice",
        ),
        (
            {
                "tools": [TIME],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [WEATHER | {"function": {"name": "f"}}],
                    },
                },
            },
            "tool_choice",
        ),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls"),
        ({"functions": [{"name": "f"}], "tools": [TIME]}, "functions"),
        ({"functions": [{"name": "f"}], "function_call": {"name": "g"}}, "function_call"),
        ({"functions": [{"name": "f"}], "function_call": "required"}, "function_call.mode"),
        ({"functions": [{"name": "f"}], "tool_choice": "none"}, "tool_choice"),
        ({"tools": [TIME], "function_call": "none"}, "function_call"),
        (said(role="assistant"), "messages"),
        (said(role="assistant", tool_calls=[]), "messages"),
        (said(role="assistant", tool_calls=[{"id": "x"}]), "messages.0.tool_calls.0.function"),
        (said(role="assistant", content="x", audio={"id": "y"}), "audio"),
        (said(role="tool", content="x"), "messages"),
        (said(role="function", content="x"), "messages"),
        (said(role="user", content=[{"type": "input_audio", "input_audio": {}}]), "messages"),
        (said(role="user", content=[{"type": "file", "file": {}}]), "messages"),
        (said(role="user", content=[{"type": "text"}]), "messages"),
        (said(role="user", content=["x"]), "messages"),
        (said(role="user", content=[{"type": {}}]), "messages"),
        (said(role="user", content="\ud800"), "messages"),
    ],
)
def test_tools_and_messages_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": BASE, "messages": HI, **fields})
    headers = {"Content-Type": "application/json"}
    answer = http.post("/chat/completions", content=body, headers=headers)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param
