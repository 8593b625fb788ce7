"""Chat: the models that answer, and who may ask them."""

import httpx
import openai
import pytest

from tests.contract.platform.conftest import Connect
from tests.contract.platform.support import act, job_in, refusal, retrieve
from tests.contract.server import BASE, ScriptedSampler, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope

CHAT = "/ai/chat/completions"


def ask(http: httpx.Client, model: str) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
    return http.post(CHAT, json=body)


def test_a_model_answers_after_it_is_deployed_and_not_before(
    http: httpx.Client, worker: Worker, sampler: ScriptedSampler, server: Server
) -> None:
    job = job_in("completed", http, worker, suffix="support-v1")
    name = retrieve(http, job)["resultModel"]
    assert ask(http, name).status_code == 404
    act(http, "deploy", job)
    answer = ask(http, name)
    assert answer.status_code == 200
    assert answer.json()["object"] == "chat.completion"
    assert answer.json()["choices"][0]["message"]["content"] == "Hello"
    assert sampler.requests[-1].adapter is not None


def test_before_a_deployment_no_name_of_the_model_answers(
    http: httpx.Client, worker: Worker, sampler: ScriptedSampler, server: Server
) -> None:
    job = job_in("completed", http, worker, suffix="v2")
    key = http.headers["x-api-key"]
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0) as client:
        (theirs,) = client.fine_tuning.jobs.list().data
        assert theirs.fine_tuned_model is not None
        messages = [{"role": "user", "content": "Hi"}]
        for name in (theirs.fine_tuned_model, f"{BASE}-v2"):
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model=name, messages=messages)  # type: ignore[call-overload]
        assert theirs.fine_tuned_model not in [model.id for model in client.models.list()]
        act(http, "deploy", job)
        for name in (theirs.fine_tuned_model, f"{BASE}-v2"):
            client.chat.completions.create(model=name, messages=messages)  # type: ignore[call-overload]
        client.models.delete(theirs.fine_tuned_model)
    assert ask(http, f"{BASE}-v2").status_code == 404
    assert act(http, "deploy", job).status_code == 409


def test_a_model_outlives_its_job(
    http: httpx.Client, worker: Worker, sampler: ScriptedSampler
) -> None:
    job = job_in("completed", http, worker, suffix="kept")
    act(http, "deploy", job)
    act(http, "delete", job)
    assert ask(http, f"{BASE}-kept").status_code == 200


def test_a_strangers_model_does_not_answer(
    http: httpx.Client, stranger: httpx.Client, worker: Worker, sampler: ScriptedSampler
) -> None:
    job = job_in("completed", stranger, worker, suffix="theirs")
    act(stranger, "deploy", job)
    assert ask(http, f"{BASE}-theirs").status_code == 404


def test_answers_are_streamed(http: httpx.Client, sampler: ScriptedSampler) -> None:
    body = {"model": BASE, "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
    with http.stream("POST", f"{CHAT}/", json=body) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[-1] == "data: [DONE]"


def test_who_may_not_ask_is_told_so_in_this_apis_words(server: Server, connect: Connect) -> None:
    http = connect(server.new_caller(frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE})))
    error = refusal(ask(http, BASE), 403, "scope-required")
    assert "'ai-gateway:inference'" in error["message"]
    answer = httpx.post(f"{server.url}/api/v1{CHAT}", json={}, verify=False)
    refusal(answer, 401, "unauthorized")


def test_a_bad_question_is_refused_as_openai_refuses_it(http: httpx.Client) -> None:
    answer = http.post(CHAT, json={"model": BASE})
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}
