"""OpenAI's own client below an account, and what this API adds to that form."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from tests.contract.cloudflare.support import MODEL, Account
from tests.contract.openai.support import wait_until
from tests.contract.server import (
    BASE,
    ScriptedSampler,
    Server,
    delta,
    done,
    failed,
)
from tunesmith.domain.errors import Unavailable

HI: list[Any] = [{"role": "user", "content": "Hi."}]


@pytest.fixture
def ai(server: Server, account: Account) -> Iterator[openai.OpenAI]:
    url = f"{server.url}/client/v4/accounts/{account.id}/ai/v1"
    with openai.OpenAI(base_url=url, api_key=account.caller.secret, max_retries=0) as client:
        yield client


def chat(account: Account, **fields: Any) -> httpx.Response:
    body = {"model": MODEL, "messages": HI, **fields}
    return account.http.post("/v1/chat/completions", json=body)


def refused(answer: httpx.Response, status: int, number: int) -> dict[str, Any]:
    """Both envelopes say so; returns the one of OpenAI."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert body["errors"][0]["code"] == number
    assert body["errors"][0]["message"] == body["error"]["message"]
    assert int(answer.headers["content-length"]) == len(answer.content)
    error: dict[str, Any] = body["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_openais_client_asks_by_the_alias(ai: openai.OpenAI, sampler: ScriptedSampler) -> None:
    answer = ai.chat.completions.create(model=MODEL, messages=HI, temperature=0.5)
    assert answer.choices[0].message.content == "Hello"
    assert sampler.requests[-1].base_model.name == "tunesmith-tiny"
    assert sampler.requests[-1].temperature == 0.5


def test_openais_client_streams(ai: openai.OpenAI) -> None:
    chunks = ai.chat.completions.create(model=MODEL, messages=HI, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Hello"


def test_responses_embeddings_and_models_are_there(ai: openai.OpenAI) -> None:
    assert ai.responses.create(model=MODEL, input="Hi.").output_text == "Hello"
    assert ai.completions.create(model=MODEL, prompt="Hi.").choices[0].text == "Hello"
    vector = ai.embeddings.create(model=MODEL, input="a", encoding_format="float").data[0].embedding
    assert vector == [0.6, 0.0, 0.8]
    assert "tunesmith-tiny" in [model.id for model in ai.models.list()]


@pytest.mark.parametrize("by", ["name", "id"])
def test_a_finetune_answers_as_an_extra_field(
    ai: openai.OpenAI, account: Account, sampler: ScriptedSampler, by: str
) -> None:
    finetune = account.whole("mine")
    answer = ai.chat.completions.create(model=MODEL, messages=HI, extra_body={"lora": finetune[by]})
    adapter = sampler.requests[-1].adapter
    assert adapter is not None
    assert adapter.id == finetune["id"].replace("-", "")
    assert answer.model.startswith("ft:tunesmith-tiny:")
    again = ai.chat.completions.create(model=answer.model, messages=HI)
    assert again.model == answer.model


def test_a_public_finetune_answers_others(
    account: Account, stranger: Account, sampler: ScriptedSampler
) -> None:
    stranger.whole("for-all-of-v1", public=True)
    assert chat(account, lora="for-all-of-v1").status_code == 200
    assert sampler.requests[-1].adapter is not None


def test_a_finetune_is_a_model_of_the_other_dialect_by_name_and_id(
    server: Server, account: Account, stranger: Account
) -> None:
    finetune = account.whole("mine too")
    url = f"{server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=account.caller.secret, max_retries=0) as client:
        for name in ("mine too", finetune["id"]):
            assert client.models.retrieve(name).id.startswith("ft:tunesmith-tiny:")
            client.chat.completions.create(model=name, messages=HI)
    with (
        openai.OpenAI(base_url=url, api_key=stranger.caller.secret, max_retries=0) as client,
        pytest.raises(openai.NotFoundError),
    ):
        client.models.retrieve(finetune["id"])


@pytest.mark.parametrize(
    ("fields", "status", "number"),
    [
        ({"lora": "nobody"}, 400, 3037),
        ({"lora": 3}, 400, 3003),
        ({"lora": "nobody", "model": "@cf/no/such"}, 400, 5007),
        ({"model": "@cf/no/such"}, 404, 5007),
        ({"model": 3}, 400, 3003),
        ({"messages": []}, 400, 3003),
        ({"temperature": 3}, 400, 3003),
        ({"unheard_of": 1}, 400, 3003),
    ],
)
def test_errors_are_in_both_shapes(
    account: Account, fields: dict[str, Any], status: int, number: int
) -> None:
    refused(chat(account, **fields), status, number)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'"' * 3])
def test_what_is_no_body_is_refused(account: Account, body: bytes) -> None:
    answer = account.http.post(
        "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
    )
    refused(answer, 400, 3003)


@pytest.mark.parametrize("field", ["model", "lora", "messages", "metadata"])
@pytest.mark.parametrize("value", ['"\\u0000"', '"\\ud800"', "[" * 600 + "]" * 600, "1e999"])
def test_what_no_database_can_look_for_is_refused(account: Account, field: str, value: str) -> None:
    fields = {"model": f'"{MODEL}"', "lora": '"mine"', "messages": "[]", field: value}
    body = ", ".join(f'"{name}": {text}' for name, text in fields.items())
    answer = account.http.post("/v1/chat/completions", content="{" + body + "}")
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["success"] is False


def test_failures_of_workers_are_told(account: Account, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [Unavailable("No worker.")]
    answer = chat(account, stream=True)
    refused(answer, 503, 3040)
    assert "retry-after" in answer.headers
    sampler.script = lambda request: [failed(request, "prompt_too_long", "Too long.")]
    assert refused(chat(account), 400, 3003)["code"] == "context_length_exceeded"


def test_a_failure_amid_a_stream_is_as_there(account: Account, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [delta(request, "Hel"), Unavailable("Gone.")]
    last = chat(account, stream=True).text.strip().rsplit("data: ", 1)[1]
    assert json.loads(last)["error"]["message"] == "Gone."


def test_an_older_key_and_e_mail_are_credentials_here_too(
    server: Server, sampler: ScriptedSampler
) -> None:
    caller = server.new_caller(email="a@example.com")
    with Account(server, caller) as account:
        headers = {"X-Auth-Email": "a@example.com", "X-Auth-Key": caller.secret}
        del account.http.headers["authorization"]
        assert account.http.get("/v1/models", headers=headers).status_code == 200
        for more in ({}, {"Authorization": "Bearer wrong"}):
            answer = account.http.post(
                "/v1/chat/completions",
                json={"model": BASE, "messages": HI},
                headers={**headers, **more},
            )
            assert answer.status_code == 200, answer.text
        refused(account.http.get("/v1/models"), 401, 10000)


def test_another_account_is_refused(account: Account, stranger: Account) -> None:
    url = str(account.http.base_url).replace(account.id, stranger.id)
    answer = account.http.get(f"{url}v1/models")
    refused(answer, 403, 10000)


@pytest.mark.parametrize(
    ("method", "path", "status", "number"),
    [
        ("GET", "/v1/chat/completions", 405, 7001),
        ("POST", "/v1/models", 405, 7001),
        ("GET", "/v1/files", 404, 7003),
        ("POST", "/v1/fine_tuning/jobs", 404, 7003),
    ],
)
def test_nothing_else_is_there(
    account: Account, method: str, path: str, status: int, number: int
) -> None:
    refused(account.http.request(method, path), status, number)


def test_a_body_sent_in_chunks_is_taken(account: Account) -> None:
    body = json.dumps({"model": MODEL, "messages": HI}).encode()
    answer = account.http.post("/v1/chat/completions/", content=iter([body[:9], body[9:]]))
    assert answer.status_code == 200, answer.text


def test_who_leaves_has_the_answer_cancelled(account: Account, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [delta(request, "Hel"), 30.0, done(request)]
    body = {"model": MODEL, "messages": HI, "stream": True}
    with account.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        next(answer.iter_lines())
    wait_until(lambda: sampler.num_cancelled == 1)
