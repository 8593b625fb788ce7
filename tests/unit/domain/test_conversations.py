from typing import Any

import pytest

from tests.factories import json_lines
from tunesmith.domain.datasets import BAD_EXAMPLE, check_training_lines
from tunesmith.domain.errors import InvalidTrainingData

QUESTION = {"role": "user", "content": "Is it raining?"}
ANSWER = {"role": "assistant", "content": "Yes."}
LOOK = {"name": "look", "description": "Look out.", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": LOOK}
CALL = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
LEGACY_CALL = {"name": "look", "arguments": "{}"}


def check(*messages: Any, **beside: Any) -> None:
    check_training_lines(json_lines({"messages": list(messages), **beside}))


def refusal(*messages: Any, **beside: Any) -> str:
    with pytest.raises(InvalidTrainingData) as refused:
        check(*messages, **beside)
    assert (refused.value.line, refused.value.code) == (1, BAD_EXAMPLE)
    return refused.value.message


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([{"role": "developer", "content": "Be brief."}, QUESTION, ANSWER], id="dev"),
        pytest.param([{**QUESTION, "name": "Ann"}, {**ANSWER, "name": "Bob"}], id="names"),
        pytest.param([QUESTION, {"role": "assistant", "refusal": "No."}], id="a refusal"),
        pytest.param(
            [
                QUESTION,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "text", "text": "Well."},
                        {"type": "refusal", "refusal": "No."},
                    ],
                },
            ],
            id="parts",
        ),
        pytest.param(
            [
                QUESTION,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "1", "content": "rain"},
                ANSWER,
            ],
            id="tools",
        ),
        pytest.param(
            [
                QUESTION,
                {"role": "assistant", "content": None, "function_call": LEGACY_CALL},
                {"role": "function", "name": "look", "content": "rain"},
                ANSWER,
            ],
            id="functions",
        ),
        pytest.param(
            [
                QUESTION,
                {
                    **ANSWER,
                    "refusal": None,
                    "audio": None,
                    "annotations": [],
                    "function_call": None,
                    "tool_calls": None,
                },
            ],
            id="as the client prints its objects",
        ),
    ],
)
def test_what_the_contract_knows_is_accepted(messages: list[Any]) -> None:
    check(*messages)


@pytest.mark.parametrize(
    "beside",
    [
        {"tools": [TOOL], "parallel_tool_calls": True},
        {"tools": []},
        {"tools": [{"type": "function", "function": {"name": "look"}}]},
        {"functions": [LOOK]},
    ],
)
def test_tools_are_accepted(beside: dict[str, Any]) -> None:
    check(QUESTION, ANSWER, **beside)


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param({"tools": {}}, id="an object"),
        pytest.param({"tools": [TOOL] * 129}, id="too many"),
        pytest.param({"tools": [LOOK]}, id="a function for a tool"),
        pytest.param({"tools": ["look"]}, id="text for a tool"),
        pytest.param({"tools": [{"type": "retrieval"}]}, id="another kind of tool"),
        pytest.param({"tools": [{"type": "function"}]}, id="no function"),
        pytest.param(
            {"tools": [{"type": "function", "function": {"name": "look out"}}]}, id="a bad name"
        ),
        pytest.param(
            {"tools": [{"type": "function", "function": {**LOOK, "parameters": "{}"}}]},
            id="parameters as text",
        ),
        pytest.param(
            {"tools": [{"type": "function", "function": {**LOOK, "description": 1}}]},
            id="a number for a description",
        ),
        pytest.param({"functions": []}, id="no functions"),
        pytest.param({"functions": [LOOK] * 129}, id="too many functions"),
        pytest.param({"functions": [LOOK], "tools": [TOOL]}, id="both"),
        pytest.param({"tools": [TOOL], "parallel_tool_calls": "no"}, id="text for a truth"),
    ],
)
def test_defective_tools_are_refused(beside: dict[str, Any]) -> None:
    refusal(QUESTION, ANSWER, **beside)


def test_parallel_calls_contradict_a_row_that_excludes_them() -> None:
    both = {"role": "assistant", "content": None, "tool_calls": [CALL, {**CALL, "id": "2"}]}
    assert "parallel_tool_calls" in refusal(QUESTION, both, parallel_tool_calls=False)
    check(QUESTION, both, parallel_tool_calls=True)


@pytest.mark.parametrize(
    ("message", "what"),
    [
        ({"role": "tool", "content": "rain"}, "tool_call_id"),
        ({"role": "tool", "tool_call_id": "1", "content": None}, "no content"),
        ({**QUESTION, "weight": 1}, '"weight"'),
        ({**QUESTION, "tool_calls": [CALL]}, '"tool_calls"'),
        ({**ANSWER, "thought": "hm"}, '"thought"'),
        ({**ANSWER, "name": 3}, "name"),
        ({**ANSWER, "refusal": "No."}, "both content and a refusal"),
        ({"role": "assistant", "refusal": 5}, "refusal"),
        ({**ANSWER, "tool_calls": {}}, "not a list"),
        ({**ANSWER, "tool_calls": [{}]}, "without an id"),
        ({**ANSWER, "tool_calls": [{**CALL, "type": "custom"}]}, "type function"),
        ({**ANSWER, "tool_calls": [{"id": "1", "type": "function"}]}, "names no function"),
        (
            {**ANSWER, "tool_calls": [{**CALL, "function": {"name": "look", "arguments": {}}}]},
            "not JSON text",
        ),
        ({**ANSWER, "function_call": {"arguments": "{}"}}, "names no function"),
        ({**ANSWER, "function_call": LEGACY_CALL, "tool_calls": [CALL]}, "both tool_calls"),
        ({"role": "user", "content": [{"type": "refusal", "refusal": "No."}]}, "type text"),
        ({"role": "user", "content": [{"type": "input_audio"}]}, "type text"),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "https://example.com/a"}}],
            },
            "text alone",
        ),
        (
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}],
            },
            "text alone",
        ),
    ],
)
def test_a_defective_message_is_refused_by_its_place(message: dict[str, Any], what: str) -> None:
    told = refusal(QUESTION, message, ANSWER)
    assert told.startswith("Message 2 ")
    assert what in told
