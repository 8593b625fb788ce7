"""What the dashboard shows beyond the documented routes: progress, curves, the queue, estimates."""

from typing import Any, cast

import httpx
import pytest

from tests.contract.platform.conftest import Connect
from tests.contract.platform.support import (
    JOBS,
    act,
    create_job,
    job_in,
    refusal,
    retrieve,
    upload,
)
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope


def test_whoever_asks_is_told_who_they_are(server: Server, connect: Connect) -> None:
    caller = server.new_caller(frozenset({Scope.ALL_JOBS}))
    data = connect(caller).get("/auth/whoami").json()["data"]
    assert data["organization"]["slug"] == caller.organization.slug
    assert data["apiKey"]["scopes"] == ["fine-tuning:*"]
    assert set(data["apiKey"]["mayDo"]) == {"fine-tuning:read", "fine-tuning:write"}
    assert caller.secret.startswith(data["apiKey"]["keyPrefix"])


def test_a_key_without_any_scope_for_jobs_may_ask_who_it_is(
    server: Server, connect: Connect
) -> None:
    http = connect(server.new_caller(frozenset({Scope.INFERENCE})))
    assert http.get("/auth/whoami").json()["data"]["apiKey"]["mayDo"] == ["inference"]


def test_a_list_with_progress_tells_the_status_in_full(http: httpx.Client, worker: Worker) -> None:
    create_job(http, name="waits")
    job_in("running", http, worker, name="runs")
    jobs = http.get(JOBS, params={"include": "progress", "sort": "name:asc"}).json()["jobs"]
    assert [(job["status"], job["progress"]["phase"]) for job in jobs] == [
        ("running", "running"),
        ("queued", "validating"),
    ]


def test_other_things_cannot_be_included(http: httpx.Client) -> None:
    refusal(http.get(JOBS, params={"include": "everything"}), 400, "validation-error")


def test_curves_have_every_figure_of_every_step(http: httpx.Client, worker: Worker) -> None:
    job = job_in("completed", http, worker)
    curves = http.get(f"{JOBS}/{job}/curves").json()
    assert [point["step"] for point in curves["points"]] == [1, 2, 3, 4]
    assert curves["totalSteps"] == 4
    first = curves["points"][0]
    for figure in ("trainingLoss", "trainingAccuracy", "learningRate", "tokens", "seconds"):
        assert first[figure] is not None, figure


def test_the_queue_has_the_own_jobs_alone_and_says_why_they_wait(
    http: httpx.Client, stranger: httpx.Client
) -> None:
    own, other = create_job(http, name="mine"), create_job(stranger)
    queue = http.get("/fine-tuning/queue").json()
    assert [job["jobId"] for job in queue["jobs"]] == [own]
    assert queue["count"] == 1
    (waiting,) = queue["jobs"]
    assert waiting["name"] == "mine"
    assert waiting["startsWhen"].endswith(".")
    assert other not in {job["jobId"] for job in queue["jobs"]}


def test_models_are_listed_before_and_after_they_are_deployed(
    http: httpx.Client, worker: Worker, stranger: httpx.Client
) -> None:
    job = job_in("completed", http, worker, suffix="support")
    (before,) = http.get("/fine-tuning/models").json()["models"]
    act(http, "deploy", job)
    (after,) = http.get("/fine-tuning/models").json()["models"]
    assert (before["deployed"], after["deployed"]) == (False, True)
    assert (after["id"], after["jobId"]) == (retrieve(http, job)["resultModel"], job)
    assert after["bytes"] > 0
    assert stranger.get("/fine-tuning/models").json()["count"] == 0


def test_an_estimate_of_a_dataset_has_a_range_and_the_resolved_values(http: httpx.Client) -> None:
    dataset = upload(http)
    answer = http.post("/fine-tuning/estimates", json={"baseModel": BASE, "dataset": dataset})
    made = answer.json()
    assert answer.status_code == 200, made
    assert made["examples"] == 10
    assert made["hyperparameters"]["epochs"] == 10
    assert made["hyperparameters"]["steps"] == 100
    assert made["minutes"]["low"] <= made["minutes"]["likely"] <= made["minutes"]["high"]
    assert made["cost"]["low"] <= made["cost"]["likely"] <= made["cost"]["high"]


def test_an_estimate_follows_method_and_objective(http: httpx.Client) -> None:
    def made(**asked: str) -> dict[str, Any]:
        body = {"baseModel": BASE, "examples": 9_000, "tokensPerExample": 500_000, **asked}
        body["epochs"] = 50  # many minutes, however fast earlier jobs of this server were
        answer = http.post("/fine-tuning/estimates", json=body)
        assert answer.status_code == 200, answer.text
        return cast("dict[str, Any]", answer.json())

    usual, full, dpo = made(), made(method="full"), made(objective="dpo")
    rate = usual["hyperparameters"]["learningRate"]
    assert full["hyperparameters"]["learningRate"] == pytest.approx(rate / 10)
    assert dpo["hyperparameters"]["learningRate"] == pytest.approx(rate / 10)
    assert usual["minutes"]["likely"] < dpo["minutes"]["likely"] < full["minutes"]["likely"]
    assert not full["isMeasured"]


def test_usage_tells_what_was_trained_by_day(http: httpx.Client, worker: Worker) -> None:
    job_in("completed", http, worker)
    usage = http.get("/fine-tuning/usage", params={"days": 7}).json()
    assert len(usage["days"]) == 7
    assert usage["days"][-1]["trainedTokens"] == usage["trainedTokens"] > 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"baseModel": BASE}, "examples"),
        ({"baseModel": "nobody", "examples": 1}, "baseModel"),
        ({"baseModel": BASE, "examples": 1, "epochs": 51}, "epochs"),
        ({"baseModel": BASE, "examples": 1, "method": "dpo"}, "method"),
    ],
)
def test_an_estimate_of_nothing_is_refused(
    http: httpx.Client, body: dict[str, object], field: str
) -> None:
    answer = http.post("/fine-tuning/estimates", json=body)
    assert answer.status_code in (400, 422)
    assert field in str(answer.json()["error"])
