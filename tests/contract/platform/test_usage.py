"""What answers took: counted once, whichever API gave them, and shown to those who may see it."""

from typing import Any

import httpx
import pytest

from tests.contract.platform.conftest import Connect
from tests.contract.platform.support import act, job_in, retrieve
from tests.contract.server import BASE, Caller, ScriptedSampler, Server, failed
from tests.contract.worker import Worker
from tunesmith.domain.accounts import USER_SCOPES, Scope

USAGE = "/ai/usage"
HI = [{"role": "user", "content": "Hi"}]


def write_down(server: Server) -> None:
    """What a server does every few seconds."""
    taken = server.house.consumption.take()
    if taken:
        with server.database.write() as store:
            store.answers_usage.add(taken)


def total(http: httpx.Client, server: Server) -> tuple[int, int, int]:
    write_down(server)
    sums: dict[str, Any] = http.get(USAGE).json()["total"]
    return sums["requests"], sums["promptTokens"], sums["completionTokens"]


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/v1/chat/completions", {"messages": HI}, (1, 7, 3)),
        ("/v1/chat/completions", {"messages": HI, "n": 2}, (1, 7, 6)),
        ("/v1/chat/completions", {"messages": HI, "stream": True}, (1, 7, 3)),
        ("/v1/completions", {"prompt": ["a", "b"], "n": 2}, (1, 14, 12)),
        ("/v1/responses", {"input": "Hi"}, (1, 7, 3)),
        ("/v1/embeddings", {"input": ["a", "b"]}, (1, 4, 0)),
        ("/api/v1/ai/chat/completions", {"messages": HI}, (1, 7, 3)),
    ],
)
def test_a_request_is_counted_with_the_tokens_that_its_answer_tells(
    server: Server,
    http: httpx.Client,
    caller: Caller,
    sampler: ScriptedSampler,
    path: str,
    body: dict[str, Any],
    expected: tuple[int, int, int],
) -> None:
    key = {"Authorization": f"Bearer {caller.secret}"}
    answer = httpx.post(f"{server.url}{path}", headers=key, json={"model": BASE, **body})
    assert answer.status_code == 200, answer.text
    if not body.get("stream"):
        assert answer.json()["usage"]["total_tokens"] == sum(expected[1:])
    assert total(http, server) == expected
    assert total(http, server) == expected  # it is not counted again


def test_what_cloudflares_api_answers_is_counted_too(
    server: Server, http: httpx.Client, caller: Caller, sampler: ScriptedSampler
) -> None:
    account = caller.organization.id.hex
    key = {"Authorization": f"Bearer {caller.secret}"}
    path = f"{server.url}/client/v4/accounts/{account}/ai/run/{BASE}"
    assert httpx.post(path, headers=key, json={"prompt": "Hi"}).status_code == 200
    assert total(http, server) == (1, 7, 3)


def test_what_fails_before_anything_comes_is_not_counted(
    server: Server, http: httpx.Client, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "prompt_too_long", "Too long.")]
    assert http.post("/ai/chat/completions", json={"model": BASE, "messages": HI}).is_error
    assert total(http, server) == (0, 0, 0)


def test_usage_is_by_day_model_and_key(
    server: Server,
    http: httpx.Client,
    connect: Connect,
    caller: Caller,
    worker: Worker,
    stranger: httpx.Client,
    sampler: ScriptedSampler,
) -> None:
    job = job_in("completed", http, worker, suffix="counted")
    act(http, "deploy", job)
    tuned = retrieve(http, job)["resultModel"]
    colleague = connect(server.new_key(caller))
    for client, model in ((http, BASE), (http, tuned), (colleague, tuned)):
        asked = {"model": model, "messages": HI}
        assert client.post("/ai/chat/completions", json=asked).status_code == 200
    write_down(server)
    found = http.get(USAGE, params={"days": 2}).json()
    assert [day["requests"] for day in found["days"]] == [0, 3]
    assert [(one["model"], one["requests"]) for one in found["models"]] == [(tuned, 2), (BASE, 1)]
    assert [(one["name"], one["requests"]) for one in found["keys"]] == [("test", 2), (None, 1)]
    admin = connect(server.new_key(caller, USER_SCOPES | {Scope.ADMIN}))
    keys = admin.get(USAGE).json()["keys"]
    assert sorted((one["name"], one["requests"]) for one in keys) == [("test", 1), ("test", 2)]
    assert stranger.get(USAGE).json()["total"]["requests"] == 0
