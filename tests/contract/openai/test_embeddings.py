"""Embeddings of texts and token ids."""

import asyncio
import base64
import json
import socket
import struct
from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import error, refused, trained_job, wait_until
from tests.contract.server import ALIAS, BASE, Caller, ScriptedSampler, Server, embedded, failed
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import EmbedRequest
from tunesmith.domain.errors import Unavailable


def test_an_answer_is_as_documented(http: httpx.Client, sampler: ScriptedSampler) -> None:
    answer = http.post("/embeddings", json={"model": ALIAS, "input": ["a", "b"], "user": "u"})
    assert answer.json() == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": [0.6, 0.0, 0.8]}
            for index in range(2)
        ],
        "model": BASE,
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }


def test_the_client_reads_what_it_asks_for_by_itself(
    client: openai.OpenAI, lax_client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    """That is base64, which a strict client decodes too late."""
    answer = lax_client.embeddings.create(model=BASE, input="a")
    assert answer.data[0].embedding == pytest.approx([0.6, 0.0, 0.8])
    plain = client.embeddings.create(model=BASE, input="a", encoding_format="float")
    assert plain.data[0].embedding == [0.6, 0.0, 0.8]


def test_base64_is_little_endian_float32(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {"model": BASE, "input": "a", "encoding_format": "base64"}
    (item,) = http.post("/embeddings", json=body).json()["data"]
    assert base64.b64decode(item["embedding"]) == struct.pack("<3f", 0.6, 0.0, 0.8)


@pytest.mark.parametrize(
    ("given", "texts", "token_ids"),
    [
        ("a", ["a"], [None]),
        (["a", "b"], ["a", "b"], [None, None]),
        ([1, 2], [None], [[1, 2]]),
        ([[1, 2], [3]], [None, None], [[1, 2], [3]]),
    ],
)
def test_inputs_are_text_or_token_ids_one_or_many(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    given: Any,
    texts: list[Any],
    token_ids: list[Any],
) -> None:
    answer = client.embeddings.create(model=BASE, input=given, encoding_format="float")
    assert [item.index for item in answer.data] == list(range(len(texts)))
    assert [asked.text for asked in sampler.embed_requests] == texts
    assert [asked.token_ids for asked in sampler.embed_requests] == token_ids


def test_many_come_back_in_order(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    sampler.embedding_script = lambda asked: embedded(asked, 1.0, float(asked.text or ""))
    given = [str(number) for number in range(2048)]
    answer = client.embeddings.create(model=BASE, input=given, encoding_format="float")
    numbers = [round(item.embedding[1] / item.embedding[0]) for item in answer.data]
    assert numbers == list(range(2048))
    assert answer.usage.total_tokens == 4096


def test_fewer_dimensions_are_of_length_one_again(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.embedding_script = lambda asked: embedded(asked, 3.0, 4.0, 5.0)
    answer = client.embeddings.create(model=BASE, input="a", dimensions=2, encoding_format="float")
    assert answer.data[0].embedding == pytest.approx([0.6, 0.8])
    body = error(
        "The embeddings of this model have 3 dimensions; ask for as many or fewer.",
        param="dimensions",
    )
    with refused(400, body):
        client.embeddings.create(model=BASE, input="a", dimensions=4)


def test_a_tuned_model_embeds_with_its_adapter(
    client: openai.OpenAI, worker: Worker, sampler: ScriptedSampler
) -> None:
    name = trained_job(client, worker).fine_tuned_model or ""
    answer = client.embeddings.create(model=name, input="a", encoding_format="float")
    assert answer.model == name
    assert sampler.embed_requests[0].adapter is not None


def test_an_async_client_is_answered_too(
    server: Server, caller: Caller, sampler: ScriptedSampler
) -> None:
    async def ask() -> list[float]:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key=caller.secret) as client:
            return (await client.embeddings.create(model=BASE, input="a")).data[0].embedding

    assert asyncio.run(ask()) == pytest.approx([0.6, 0.0, 0.8])


@pytest.mark.parametrize(
    ("failure", "status", "body"),
    [
        (
            ("prompt_too_long", "600 tokens."),
            400,
            error("600 tokens.", param="input", code="context_length_exceeded"),
        ),
        (
            Unavailable("No worker is connected."),
            503,
            error("No worker is connected.", code="unavailable", kind="server_error"),
        ),
    ],
)
def test_the_first_failure_is_the_answer(
    client: openai.OpenAI,
    sampler: ScriptedSampler,
    failure: Any,
    status: int,
    body: dict[str, Any],
) -> None:
    def fail(asked: EmbedRequest) -> Any:
        if asked.text != "b":
            return 30.0
        return failure if isinstance(failure, Exception) else failed(asked, *failure)

    sampler.embedding_script = fail
    with refused(status, body):
        client.embeddings.create(model=BASE, input=["a", "b"])


def test_a_client_that_leaves_cancels_its_embeddings(
    server: Server, caller: Caller, sampler: ScriptedSampler
) -> None:
    sampler.embedding_script = lambda asked: 30.0
    body = json.dumps({"model": BASE, "input": ["a"] * 40})
    head = (
        "POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {caller.secret}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall((head + body).encode())
        wait_until(lambda: len(sampler.embed_requests) == 32)  # no more are on their way at once
    wait_until(lambda: sampler.num_cancelled == 32)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a", 1]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": {"a": "b"}}, "input"),
        ({"input": "\ud800"}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"),
        ({"encoding_format": "int8"}, "encoding_format"),
        ({"model": None}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_fields_that_cannot_be_honoured_are_named(
    http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = json.dumps({"model": BASE, "input": "a", **fields})
    answer = http.post("/embeddings", content=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_a_key_without_the_scope_is_told_so(server: Server, anyone: openai.OpenAI) -> None:
    reader = server.new_caller(frozenset({Scope.FILES_READ}))
    with refused(403):
        anyone.with_options(api_key=reader.secret).embeddings.create(model=BASE, input="a")


def test_an_unknown_model_is_named(client: openai.OpenAI) -> None:
    message = "The model `gpt-9` does not exist or you do not have access to it."
    with refused(404, error(message, param="model", code="model_not_found")):
        client.embeddings.create(model="gpt-9", input="a")
