"""The examples of the documentation: each answer has its keys, types and nulls."""

import httpx

from tests.contract.platform.golden import assert_like
from tests.contract.platform.support import JOBS, act, create_job, inner, job_in, upload
from tests.contract.server import BASE
from tests.contract.worker import Worker, metrics
from tunesmith.domain.assignments import StepReported

ADDITIONAL = frozenset(
    {"deployed", "deployedAt", "attempt", "suffix", "method", "objective", "fault", "mask"}
)
ADDITIONAL_HYPERPARAMETERS = frozenset(
    {
        "loraRank",
        "loraAlpha",
        "loraDropout",
        "loraTargets",
        "useRslora",
        "learningRateSchedule",
        "weightDecay",
        "maxGradNorm",
        "earlyStoppingPatience",
        "beta",
    }
)


def test_a_created_job(http: httpx.Client) -> None:
    body = {"name": "Support", "baseModel": BASE, "trainingDataset": upload(http)}
    answer = http.post(JOBS, json=body)
    assert answer.status_code == 201
    assert_like(answer.json(), "job_created")


def test_a_list_of_jobs(http: httpx.Client, worker: Worker) -> None:
    job_in("completed", http, worker, description="Our tone")
    assert_like(http.get(JOBS).json(), "job_list")


def test_a_job_in_each_status(http: httpx.Client, worker: Worker) -> None:
    validation = upload(http, filename="valid.jsonl")
    job = job_in(
        "completed", http, worker, description="x", validationFile=validation, suffix="support-v1"
    )
    assert_like(_without(http, job), "job")
    assert_like(_without(http, create_job(http)), "job_queued")
    assert_like(_without(http, job_in("failed", http, worker)), "job_failed")


def _without(http: httpx.Client, job: str) -> object:
    answer = http.get(f"{JOBS}/{job}").json()
    assert set(answer) > ADDITIONAL
    recipe = answer["hyperparameters"]
    assert set(recipe) > ADDITIONAL_HYPERPARAMETERS
    for name in ADDITIONAL_HYPERPARAMETERS:
        del recipe[name]
    return {key: value for key, value in answer.items() if key not in ADDITIONAL}


def test_a_status(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    report = StepReported(metrics=metrics(1, is_evaluated=False))
    worker.report(worker.start(inner(job)), report)
    assert_like(http.get(f"{JOBS}/{job}/status").json(), "job_status")


def test_actions(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    assert_like(act(http, "stop", job).json(), "stopped")
    assert_like(act(http, "stop", job).json(), "stopped")
    assert_like(act(http, "restart", job).json(), "restarted")
    worker.train(inner(job))
    assert_like(act(http, "deploy", job).json(), "deployed")


def test_metrics(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    assert_like(http.get(f"{JOBS}/{job}/metrics").json(), "metrics_queued")
    attempt = worker.start(inner(job))
    for step in (1, 2):
        report = StepReported(metrics=metrics(step, is_evaluated=step == 2))
        worker.report(attempt, report)
    assert_like(http.get(f"{JOBS}/{job}/metrics").json(), "metrics")


def test_logs(http: httpx.Client, worker: Worker) -> None:
    job = job_in("running", http, worker)
    assert_like(http.get(f"{JOBS}/{job}/logs").json(), "logs")


def test_stats(http: httpx.Client) -> None:
    assert_like(http.get("/fine-tuning/stats").json(), "stats", frozenset({"stopped"}))


def test_datasets(http: httpx.Client) -> None:
    dataset = upload(http)
    assert_like(http.get(f"/datasets/{dataset}").json(), "dataset")
    assert_like(http.get("/datasets").json(), "dataset_list")


def test_errors(http: httpx.Client, worker: Worker) -> None:
    job = job_in("running", http, worker)
    assert_like(act(http, "delete", job).json(), "invalid_state")
    assert_like(http.post(JOBS, json={}).json(), "validation_error")
