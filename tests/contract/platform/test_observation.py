"""Metrics, log lines and counts."""

import threading
from datetime import timedelta

import httpx
import pytest

from tests.contract.platform.support import JOBS, act, create_job, inner, job_in, refusal, retrieve
from tests.contract.server import Server, now
from tests.contract.worker import Worker, metrics
from tunesmith.domain.assignments import AttemptLost, StepReported
from tunesmith.domain.events import EventKind, Level
from tunesmith.services.jobs import tell


def note(server: Server, job: str, message: str, level: Level = Level.INFO) -> None:
    with server.database.write() as store:
        found = store.jobs.get_for_worker(inner(job))
        tell(store, found, EventKind.NOTE, now=now(), level=level, message=message)


def messages(http: httpx.Client, job: str, **params: str) -> list[str]:
    answer = http.get(f"{JOBS}/{job}/logs", params=params)
    assert answer.status_code == 200, answer.text
    return [line["message"] for line in answer.json()["logs"]]


def test_a_queued_job_has_said_nothing(http: httpx.Client) -> None:
    assert messages(http, create_job(http)) == []


def test_a_job_tells_its_story(http: httpx.Client, worker: Worker) -> None:
    job = job_in("completed", http, worker)
    said = messages(http, job)
    assert said[0] == "Training started: 4 steps."
    assert said[-1] == "The job is completed."
    assert any(line.startswith("Step 2 of 4, training loss 0.5") for line in said)


def test_warnings_and_errors_are_told_apart(
    http: httpx.Client, worker: Worker, server: Server
) -> None:
    job = job_in("failed", http, worker)
    note(server, job, "Mind the gap.", Level.WARNING)
    lines = http.get(f"{JOBS}/{job}/logs").json()["logs"]
    assert [line["level"] for line in lines] == ["error", "warning"]


def test_a_warm_up_longer_than_the_run_is_warned_of(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http, hyperparameters={"warmupSteps": 100})
    worker.start(inner(job))
    assert any("warm-up of 100 steps" in line for line in messages(http, job))


def test_a_message_is_one_line_without_codes_or_paths(
    http: httpx.Client, server: Server, worker: Worker
) -> None:
    job = create_job(http)
    note(server, job, "a\nb\x1b[31mred\x1b[0m of acme/tiny-1b at /srv/data/blobs/x.bin")
    (line,) = messages(http, job)
    assert line == "a b red  of acme/tiny-1b at [path]"


def test_without_since_the_last_lines_come(http: httpx.Client, server: Server) -> None:
    job = create_job(http)
    for number in range(7):
        note(server, job, f"line {number}.")
    assert messages(http, job, lines="3") == ["line 4.", "line 5.", "line 6."]


def test_with_since_the_first_lines_after_it_come(http: httpx.Client, server: Server) -> None:
    job = create_job(http)
    for number in range(7):
        note(server, job, f"line {number}.")
    stamps = [line["timestamp"] for line in http.get(f"{JOBS}/{job}/logs").json()["logs"]]
    assert stamps == sorted(set(stamps))
    assert messages(http, job, since=stamps[2], lines="2") == ["line 3.", "line 4."]
    assert messages(http, job, since=stamps[-1]) == []


def test_a_moment_may_be_written_in_several_ways(http: httpx.Client, server: Server) -> None:
    job = create_job(http)
    note(server, job, "line.")
    (line,) = http.get(f"{JOBS}/{job}/logs").json()["logs"]
    before = line["timestamp"][:-5]  # down to the second, which is not after it
    for since in (before, f"{before}Z", f"{before}+00:00", f"{before}%2B00:00", "2020-01-01"):
        answer = http.get(f"{JOBS}/{job}/logs?since={since}")
        shown = [line["message"] for line in answer.json()["logs"]]
        assert "line." in shown or line["timestamp"].endswith(".000Z"), since


@pytest.mark.parametrize(
    "query",
    [
        "lines=0",
        "lines=5001",
        "lines=x",
        "since=yesterday",
        "since=",
        "since=0001-01-01T00:00%2B05:00",
    ],
)
def test_a_bad_question_about_the_log_is_refused(http: httpx.Client, query: str) -> None:
    job = create_job(http)
    error = refusal(http.get(f"{JOBS}/{job}/logs?{query}"), 400, "validation-error")
    assert error["details"][0]["field"] == query.partition("=")[0]


def test_a_poller_sees_each_line_of_a_fast_writer_once(http: httpx.Client, server: Server) -> None:
    job = create_job(http)
    num_lines = 300
    writer = threading.Thread(
        target=lambda: [note(server, job, f"{number}") for number in range(num_lines)]
    )
    writer.start()
    seen: list[str] = []
    since = "2020-01-01T00:00:00Z"
    while True:
        is_over = not writer.is_alive()
        answer = http.get(f"{JOBS}/{job}/logs", params={"since": since, "lines": "7"})
        lines = answer.json()["logs"]
        seen += [line["message"] for line in lines]
        if lines:
            since = lines[-1]["timestamp"]
        elif is_over:
            break
    writer.join()
    assert seen == [str(number) for number in range(num_lines)]


def test_metrics_grow_with_the_steps(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http, hyperparameters={"epochs": 2})
    attempt = worker.start(inner(job))
    worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=False)))
    worker.report(attempt, StepReported(metrics=metrics(2, is_evaluated=True)))
    worker.report(attempt, StepReported(metrics=metrics(3, is_evaluated=False)))
    shown = http.get(f"{JOBS}/{job}/metrics").json()["metrics"]
    assert shown == {
        "trainingLoss": pytest.approx(1 / 3),
        "validationLoss": 3.0,
        "currentEpoch": 2,
        "totalEpochs": 2,
        "trainedTokens": 300,
        "steps": [
            {"step": 1, "trainingLoss": 1.0, "validationLoss": None, "learningRate": 1e-4},
            {"step": 2, "trainingLoss": 0.5, "validationLoss": 3.0, "learningRate": 1e-4},
            {
                "step": 3,
                "trainingLoss": pytest.approx(1 / 3),
                "validationLoss": None,
                "learningRate": 1e-4,
            },
        ],
    }


def test_figures_that_are_no_numbers_are_null(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    bad = metrics(1, is_evaluated=False)
    worker.report(
        attempt,
        StepReported(
            metrics=type(bad)(
                **{name: getattr(bad, name) for name in bad.__slots__}
                | {"train_loss": float("nan")}
            )
        ),
    )
    assert retrieve(http, job)["metrics"]["trainingLoss"] is None
    assert http.get(f"{JOBS}/{job}/metrics").json()["metrics"]["trainingLoss"] is None


def test_an_interruption_is_told_and_the_job_waits(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    worker.report(attempt, AttemptLost(reason="the host died"))
    assert "the host died" in messages(http, job)[-1]
    assert retrieve(http, job)["status"] == "queued"


def test_stats_count_each_status_and_all(http: httpx.Client, worker: Worker) -> None:
    for status in ("queued", "running", "completed", "failed", "stopped"):
        job_in(status, http, worker)
    deleted = job_in("stopped", http, worker)
    act(http, "delete", deleted)
    assert http.get("/fine-tuning/stats").json() == {
        "total": 5,
        "running": 1,
        "completed": 1,
        "failed": 1,
        "queued": 1,
        "stopped": 1,
    }


def test_updated_at_moves_with_each_change(http: httpx.Client, server: Server) -> None:
    job = create_job(http)
    stamps = [retrieve(http, job)["updatedAt"]]
    try:
        for action in ("stop", "restart", "stop"):
            server.ahead += timedelta(seconds=5)
            act(http, action, job)
            stamps.append(retrieve(http, job)["updatedAt"])
    finally:
        server.ahead = timedelta()
    assert len(stamps) == 4
    assert stamps == sorted(set(stamps))
