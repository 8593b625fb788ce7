"""Completions of plain text, whole and streamed."""

from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import error, refused
from tests.contract.openai.test_chat import frames_of
from tests.contract.server import BASE, ScriptedSampler, failed


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


def test_choices_are_in_the_order_of_prompts_and_echo_them(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    answer = client.completions.create(
        model=BASE, prompt=["a ", "b "], n=2, best_of=2, echo=True, suffix=None
    )
    assert [c.text for c in answer.choices] == ["a Hello", "a Hello", "b Hello", "b Hello"]
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (14, 12)


def test_a_stream_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {
        "model": BASE,
        "prompt": "Once ",
        "echo": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    *chunks, last = frames_of(http.post("/completions", json=body))
    assert last == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    pieces = [(c["text"], c["finish_reason"]) for chunk in chunks for c in chunk["choices"]]
    assert pieces == [("Once ", None), ("Hel", None), ("lo", None), ("", "stop")]
    assert chunks[-1]["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def test_the_client_reads_a_stream(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    stream = client.completions.create(model=BASE, prompt=["a", "b"], stream=True)
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
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"best_of": 2}, "best_of"),
        ({"logprobs": 0}, "logprobs"),
        ({"suffix": "x"}, "suffix"),
        ({"logit_bias": {"1": 1}}, "logit_bias"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    answer = http.post("/completions", json={"model": BASE, "prompt": "a", **fields})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
