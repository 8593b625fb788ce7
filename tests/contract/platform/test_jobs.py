"""Fine-tuning jobs: made, refused, listed, and seen through other APIs."""

import json
from typing import Any

import httpx
import pytest

from tests.contract.platform.support import (
    EXAMPLES,
    JOBS,
    act,
    create_job,
    inner,
    job_in,
    refusal,
    retrieve,
    upload,
)
from tests.contract.server import ALIAS, BASE, Server
from tests.contract.worker import Worker, metrics
from tunesmith.domain.assignments import StepReported
from tunesmith.domain.hyperparameters import Method, Schedule
from tunesmith.domain.rules import Rule
from tunesmith.worker.prepare import data_failure


def test_what_was_asked_for_comes_back(http: httpx.Client) -> None:
    dataset = upload(http)
    wanted = {
        "epochs": 2,
        "learningRate": 0.001,
        "batchSize": 4,
        "warmupSteps": 7,
        "loraRank": 4,
        "loraAlpha": 8.5,
        "loraDropout": 0.1,
        "loraTargets": ["q_proj", "v_proj"],
        "useRslora": True,
        "learningRateSchedule": "linear",
        "weightDecay": 0.01,
        "maxGradNorm": 0.5,
        "earlyStoppingPatience": 2,
        "beta": None,
    }
    job = create_job(
        http,
        name="  Support  ",
        description="Ours",
        trainingDataset=dataset,
        validationFile=dataset,
        hyperparameters=wanted,
        suffix="v1",
    )
    shown = retrieve(http, job)
    assert shown["name"] == "Support"
    assert shown["hyperparameters"] == wanted
    assert shown["trainingDataset"] == shown["validationFile"] == dataset
    assert shown["trainingFile"] == "train.jsonl"
    assert (shown["description"], shown["suffix"]) == ("Ours", "v1")


def test_a_worker_is_told_the_rate_and_the_warm_up(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http, hyperparameters={"learningRate": 0.003, "warmupSteps": 12})
    worker.validate(inner(job))
    told = worker.lease(inner(job)).hyperparameters
    assert (told.learning_rate, told.warmup_steps) == (0.003, 12)
    assert (told.num_epochs, told.batch_size) == (3, 8)


def test_a_worker_is_told_the_recipe(http: httpx.Client, worker: Worker) -> None:
    recipe = {
        "loraRank": 2,
        "loraTargets": ["q_proj"],
        "useRslora": True,
        "learningRateSchedule": "constant",
        "weightDecay": 0.2,
        "earlyStoppingPatience": 1,
    }
    job = create_job(http, validationFile=upload(http), hyperparameters=recipe)
    worker.validate(inner(job))
    told = worker.lease(inner(job)).hyperparameters
    assert (told.lora_rank, told.lora_targets, told.use_rslora) == (2, ("q_proj",), True)
    assert (told.lr_schedule, told.weight_decay) == (Schedule.CONSTANT, 0.2)
    assert told.early_stopping_patience == 1


def test_all_weights_and_preferences_are_asked_for(http: httpx.Client, worker: Worker) -> None:
    answer = [{"role": "assistant", "content": "yes"}]
    other = [{"role": "assistant", "content": "no"}]
    asked = {"messages": [{"role": "user", "content": "Is it?"}]}
    pair = {"input": asked, "preferred_output": answer, "non_preferred_output": other}
    dataset = upload(http, content="\n".join([json.dumps(pair)] * 10).encode())
    job = create_job(
        http,
        trainingDataset=dataset,
        method="full",
        objective="dpo",
        hyperparameters={"beta": 0.3},
    )
    shown = retrieve(http, job)
    assert (shown["method"], shown["objective"]) == ("full", "dpo")
    assert shown["hyperparameters"]["learningRate"] == 2e-5
    assert shown["hyperparameters"]["beta"] == 0.3
    worker.validate(inner(job))
    told = worker.lease(inner(job))
    assert told.method is Method.DPO
    assert told.hyperparameters.trains_all_weights
    assert told.hyperparameters.beta == 0.3
    assert told.host_owner == str(told.job_id)


def test_preferences_are_no_examples(http: httpx.Client) -> None:
    body = {"name": "x", "baseModel": BASE, "trainingDataset": upload(http), "objective": "dpo"}
    refusal(http.post(JOBS, json=body), 422, "unprocessable")


def test_stopping_early_takes_a_validation_file(http: httpx.Client) -> None:
    asked = {"earlyStoppingPatience": 1}
    body = {
        "name": "x",
        "baseModel": BASE,
        "trainingDataset": upload(http),
        "hyperparameters": asked,
    }
    error = refusal(http.post(JOBS, json=body), 400, "validation-error")
    field = "hyperparameters.earlyStoppingPatience"
    assert [detail["field"] for detail in error["details"]] == [field]


def test_the_defaults_are_as_documented(http: httpx.Client) -> None:
    assert retrieve(http, create_job(http))["hyperparameters"] == {
        "epochs": 3,
        "learningRate": 0.0002,
        "batchSize": 8,
        "warmupSteps": 0,
        "loraRank": 16,
        "loraAlpha": 32.0,
        "loraDropout": 0.0,
        "loraTargets": [],
        "useRslora": False,
        "learningRateSchedule": "cosine",
        "weightDecay": 0.0,
        "maxGradNorm": 1.0,
        "earlyStoppingPatience": None,
        "beta": None,
    }


def test_what_is_left_out_is_chosen_for_the_data_where_that_is_asked_for(
    http: httpx.Client, worker: Worker
) -> None:
    job = create_job(http, seed=7, hyperparameters={"auto": True, "loraRank": 4})
    assert retrieve(http, job)["hyperparameters"]["epochs"] is None
    worker.validate(inner(job), num_examples=600)
    told = worker.lease(inner(job))
    chosen = told.hyperparameters
    assert (chosen.num_epochs, chosen.batch_size, chosen.lora_rank, told.seed) == (3, 10, 4, 7)
    assert (chosen.learning_rate, chosen.warmup_steps) == (None, None)
    assert retrieve(http, job)["hyperparameters"]["learningRate"] == 2e-4
    named = create_job(http, hyperparameters={"auto": True, "epochs": 2, "learningRate": 0.01})
    shown = retrieve(http, named)["hyperparameters"]
    assert (shown["epochs"], shown["learningRate"], shown["batchSize"]) == (2, 0.01, None)


def test_a_model_that_is_deployed_by_its_job_answers_at_once(
    http: httpx.Client, worker: Worker
) -> None:
    job = create_job(http, deploy=True)
    worker.train(inner(job))
    assert retrieve(http, job)["deployed"] is True


def test_a_tuned_model_is_tuned_further_by_either_name(
    http: httpx.Client, worker: Worker, server: Server, stranger: httpx.Client
) -> None:
    first = job_in("completed", http, worker, suffix="first")
    plain = retrieve(http, first)["resultModel"]
    key = {"Authorization": f"Bearer {http.headers['x-api-key']}"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=key, verify=False) as other:
        theirs = other.get("/fine_tuning/jobs").json()["data"][0]["fine_tuned_model"]
    act(http, "deploy", first)
    for name in (plain, theirs):
        job = create_job(http, baseModel=name)
        worker.validate(inner(job))
        assert worker.lease(inner(job)).initial_adapter
        assert retrieve(http, job)["baseModel"] == BASE
        body = {"name": "x", "baseModel": name, "trainingDataset": upload(stranger)}
        refusal(stranger.post(JOBS, json=body), 422, "unprocessable")


def test_epochs_may_be_called_n_epochs(http: httpx.Client) -> None:
    job = create_job(http, hyperparameters={"n_epochs": 5})
    assert retrieve(http, job)["hyperparameters"]["epochs"] == 5


def test_a_model_may_be_named_by_an_alias(http: httpx.Client) -> None:
    assert retrieve(http, create_job(http, baseModel=ALIAS))["baseModel"] == BASE


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "   "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": 5}, "name"),
        ({"baseModel": ["x"]}, "baseModel"),
        ({"trainingDataset": ""}, "trainingDataset"),
        ({"suffix": "with space"}, "suffix"),
        ({"suffix": "x\n"}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"hyperparameters": []}, "hyperparameters"),
        ({"hyperparameters": {"epochs": 0}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": 2.5}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": True}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"epochs": 10**30}}, "hyperparameters.epochs"),
        ({"hyperparameters": {"learningRate": 0}}, "hyperparameters.learningRate"),
        ({"hyperparameters": {"learningRate": "fast"}}, "hyperparameters.learningRate"),
        ({"hyperparameters": {"learningRate": 1e300}}, "hyperparameters.learningRate"),
        ({"hyperparameters": {"batchSize": 0}}, "hyperparameters.batchSize"),
        ({"hyperparameters": {"warmupSteps": -1}}, "hyperparameters.warmupSteps"),
        ({"hyperparameters": {"warmupSteps": 10**30}}, "hyperparameters.warmupSteps"),
        ({"hyperparameters": {"learning_rate": 0.1}}, "hyperparameters.learning_rate"),
        ({"hyperparameters": {"loraRank": 257}}, "hyperparameters.loraRank"),
        ({"hyperparameters": {"loraRank": None}}, "hyperparameters.loraRank"),
        ({"hyperparameters": {"loraAlpha": 0}}, "hyperparameters.loraAlpha"),
        ({"hyperparameters": {"loraDropout": 1}}, "hyperparameters.loraDropout"),
        ({"hyperparameters": {"loraTargets": "q_proj"}}, "hyperparameters.loraTargets"),
        ({"hyperparameters": {"loraTargets": [""]}}, "hyperparameters.loraTargets"),
        ({"hyperparameters": {"useRslora": 1}}, "hyperparameters.useRslora"),
        (
            {"hyperparameters": {"learningRateSchedule": "step"}},
            "hyperparameters.learningRateSchedule",
        ),
        ({"hyperparameters": {"weightDecay": -0.1}}, "hyperparameters.weightDecay"),
        ({"hyperparameters": {"auto": "yes"}}, "hyperparameters.auto"),
        ({"seed": -1}, "seed"),
        ({"deploy": 1}, "deploy"),
        ({"method": "dora"}, "method"),
        ({"objective": "orpo"}, "objective"),
        ({"hyperparameters": {"beta": 0.1}}, "hyperparameters.beta"),
        ({"method": "full", "hyperparameters": {"loraRank": 8}}, "hyperparameters.loraRank"),
        ({"hyperparameters": {"maxGradNorm": 0}}, "hyperparameters.maxGradNorm"),
        (
            {"hyperparameters": {"earlyStoppingPatience": 0}},
            "hyperparameters.earlyStoppingPatience",
        ),
    ],
)
def test_what_is_ill_typed_is_refused_by_name(
    http: httpx.Client, changes: dict[str, Any], field: str
) -> None:
    body = {"name": "x", "baseModel": BASE, "trainingDataset": upload(http), **changes}
    error = refusal(http.post(JOBS, json=body), 400, "validation-error")
    assert [detail["field"] for detail in error["details"]] == [field]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b'{"name": "a\\u0000b"}',
        b"\xff",
        b"[" * 100_000,
        b'{"hyperparameters": {"learningRate": NaN}}',
        b'{"hyperparameters": {"learningRate": Infinity}}',
    ],
)
def test_a_body_that_is_no_object_of_text_is_refused(http: httpx.Client, body: bytes) -> None:
    refusal(http.post(JOBS, content=body), 400, "validation-error")


def test_a_body_is_json_whatever_it_says_it_is(http: httpx.Client) -> None:
    content = f'{{"name": "x", "baseModel": "{BASE}", "trainingDataset": "{upload(http)}"}}'
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = http.post(JOBS, content=content, headers={"content-type": kind})
        assert answer.status_code == 201


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"baseModel": "gpt-9"}, "baseModel"),
        ({"trainingDataset": "ds_" + "0" * 25}, "trainingDataset"),
        ({"trainingDataset": "nothing.jsonl"}, "trainingDataset"),
        ({"trainingDataset": "https://example.org/train.jsonl"}, "trainingDataset"),
        ({"trainingDataset": "/etc/passwd"}, "trainingDataset"),
        ({"trainingDataset": "../tunesmith.db"}, "trainingDataset"),
        ({"trainingDataset": "a/../../tunesmith.db"}, "trainingDataset"),
        ({"validationFile": "nothing.jsonl"}, "validationFile"),
    ],
)
def test_what_is_well_formed_but_of_no_use_is_unprocessable(
    http: httpx.Client, changes: dict[str, Any], field: str
) -> None:
    body = {"name": "x", "baseModel": BASE, "trainingDataset": upload(http), **changes}
    error = refusal(http.post(JOBS, json=body), 422, "unprocessable")
    assert [detail["field"] for detail in error["details"]] == [field]


def test_data_that_is_plainly_none_is_unprocessable(http: httpx.Client) -> None:
    dataset = upload(http, b'{"question": "x"}\n' * 10)
    body = {"name": "x", "baseModel": BASE, "trainingDataset": dataset}
    error = refusal(http.post(JOBS, json=body), 422, "unprocessable")
    assert "Line 1" in error["message"]


def test_an_unknown_field_is_passed_over_and_told_in_the_log(http: httpx.Client) -> None:
    job = create_job(http, hardware="a100", colour="red")
    lines = http.get(f"{JOBS}/{job}/logs").json()["logs"]
    assert [line["level"] for line in lines] == ["warning", "warning"]
    assert "'hardware'" in lines[0]["message"]
    assert "'colour'" in lines[1]["message"]


def test_the_same_request_makes_two_jobs(http: httpx.Client) -> None:
    dataset = upload(http)
    assert create_job(http, trainingDataset=dataset) != create_job(http, trainingDataset=dataset)


def test_progress_is_seen_while_a_job_runs(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    assert retrieve(http, job)["startedAt"] is not None
    worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=False)))
    worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=False)))  # again
    shown = retrieve(http, job)
    assert shown["trainedTokens"] == 100
    assert shown["metrics"] == {"trainingLoss": 1.0, "validationLoss": None, "epoch": 1}


def test_twenty_five_jobs_make_three_pages(http: httpx.Client) -> None:
    dataset = upload(http)
    made = [create_job(http, name=f"job {i:02}", trainingDataset=dataset) for i in range(25)]
    pages = [http.get(JOBS, params={"limit": 10, "offset": o}).json() for o in (0, 10, 20, 30)]
    assert [page["count"] for page in pages] == [25] * 4
    assert [len(page["jobs"]) for page in pages] == [10, 10, 5, 0]
    seen = [job["id"] for page in pages for job in page["jobs"]]
    assert seen == made[::-1]


def test_filters_searches_and_orders_go_together(http: httpx.Client, worker: Worker) -> None:
    first = job_in("completed", http, worker, name="Älter 100%", description="support")
    second = create_job(http, name="Beta", description="SUPPORT desk")
    third = create_job(http, name="alpha_1")

    def found(**params: str) -> list[str]:
        answer = http.get(JOBS, params=params).json()
        ids = [job["id"] for job in answer["jobs"]]
        assert answer["count"] == len(ids)
        return ids

    assert found(search="Support", sort="createdAt:asc") == [first, second]
    assert found(search="ÄLTER") == [first]
    assert found(search="%") == [first]
    assert found(search="_") == [third]
    assert found(search="support", status="queued") == [second]
    assert found(baseModel=ALIAS, sort="name") == [second, third, first]
    assert found(baseModel="nothing") == []
    assert found(sort="trainedTokens:desc")[0] == first
    assert found(sort="-trainedTokens")[0] == first
    assert found(sort="finishedAt:desc")[0] == found(sort="finishedAt:asc")[0] == first
    assert found(sort="status:asc")[0] == first
    assert found(sort="status:desc")[2] == first
    assert found(sortBy="createdAt", sortOrder="asc") == [first, second, third]


def test_a_limit_is_cut_to_a_hundred(http: httpx.Client) -> None:
    assert http.get(JOBS, params={"limit": 5000}).json()["limit"] == 100


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=1.5",
        "limit=",
        "limit=1e2",
        "offset=-1",
        "offset=x",
        "offset=99999999999999999999",
        "status=succeeded",
        "status=",
        "sort=colour:asc",
        "sort=name:up",
        "sortBy=colour",
        "sortBy=name&sortOrder=up",
        "search=%00",
        "baseModel=%00",
    ],
)
def test_a_bad_query_is_refused_by_name(http: httpx.Client, query: str) -> None:
    error = refusal(http.get(f"{JOBS}?{query}"), 400, "validation-error")
    assert error["details"][0]["field"] in query


def test_a_job_is_seen_through_the_other_api_and_back(
    http: httpx.Client, server: Server, worker: Worker
) -> None:
    key = {"Authorization": f"Bearer {http.headers['x-api-key']}"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=key, verify=False) as other:
        here = create_job(http, name="Ours", suffix="s")
        (theirs,) = other.get("/fine_tuning/jobs").json()["data"]
        assert theirs["id"].startswith("ftjob-")
        assert theirs["status"] == "validating_files"
        other.post(f"/fine_tuning/jobs/{theirs['id']}/cancel")
        assert retrieve(http, here)["status"] == "stopped"
        file = other.post(
            "/files", data={"purpose": "fine-tune"}, files={"file": ("t.jsonl", EXAMPLES)}
        ).json()["id"]
        made = {"model": BASE, "training_file": file, "suffix": "theirs"}
        other.post("/fine_tuning/jobs", json=made)
        (job, _) = http.get(JOBS).json()["jobs"]
        shown = retrieve(http, job["id"])
        assert shown["name"] == "theirs"
        assert shown["status"] == "queued"
        assert shown["hyperparameters"]["epochs"] is None
        assert shown["trainingDataset"].startswith("ds_")
        worker.train(inner(job["id"]))
        done = retrieve(http, job["id"])
        assert done["deployed"] is True  # what other APIs make needs no deployment
        assert done["hyperparameters"]["learningRate"] == 2e-4
        assert create_job(http, trainingDataset=file)
        act(http, "delete", job["id"])
        events = other.get(f"/fine_tuning/jobs/{theirs['id']}/events")
        assert events.status_code == 200


def test_both_forms_of_a_path_are_served(http: httpx.Client) -> None:
    job = create_job(http)
    for path in (JOBS, f"{JOBS}/{job}", f"{JOBS}/{job}/logs", "/fine-tuning/stats", "/datasets"):
        with_slash = http.get(f"{path}/")
        assert with_slash.status_code == 200
        assert with_slash.json() == http.get(path).json()
    assert http.post(f"{JOBS}/{job}/stop/").status_code == 200


def test_a_job_shows_what_it_learns_from_once_its_data_is_read(
    http: httpx.Client, worker: Worker
) -> None:
    job = create_job(http)
    assert retrieve(http, job)["mask"] is None
    worker.start(inner(job))

    assert retrieve(http, job)["mask"] == {
        "sha256": "5" * 64,
        "tokensPerEpoch": 500,
        "trainedTokensPerEpoch": 200,
    }


def test_a_job_that_failed_shows_where_its_file_is_at_fault(
    http: httpx.Client, worker: Worker
) -> None:
    job = create_job(http)
    failure = data_failure(
        "training", "bad_example", "No.", 12, rule=Rule.UNKNOWN_ROLE, path="$.messages[0].role"
    )
    worker.fail(inner(job), failure)

    assert retrieve(http, job)["fault"] == {
        "file": "training_file",
        "rule": "roles.unknown",
        "line": 12,
        "path": "$.messages[0].role",
    }
