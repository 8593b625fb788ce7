"""Which action is legal in which status, and what it leaves behind."""

import httpx
import pytest

from tests.contract.platform.support import (
    JOBS,
    UNKNOWN_JOB,
    act,
    create_job,
    inner,
    job_in,
    refusal,
    retrieve,
    upload,
)
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker, metrics
from tunesmith.domain.assignments import StepReported
from tunesmith.domain.errors import StaleAttempt
from tunesmith.services import pausing
from tunesmith.services.context import Context

ACTIONS = ("stop", "restart", "deploy", "delete")
# The status of the answer, and the job's status afterwards; None where it is gone.
TABLE: dict[str, tuple[tuple[int, str | None], ...]] = {
    "queued": ((200, "stopped"), (409, "queued"), (409, "queued"), (204, None)),
    "running": ((200, "stopped"), (409, "running"), (409, "running"), (409, "running")),
    "completed": ((409, "completed"), (409, "completed"), (200, "completed"), (204, None)),
    "failed": ((409, "failed"), (200, "queued"), (409, "failed"), (204, None)),
    "stopped": ((200, "stopped"), (200, "queued"), (409, "stopped"), (204, None)),
}
CELLS = [
    (status, action, code, after)
    for status, row in TABLE.items()
    for action, (code, after) in zip(ACTIONS, row, strict=True)
]


@pytest.mark.parametrize(("status", "action", "code", "after"), CELLS)
def test_each_action_in_each_status_is_as_the_table_says(
    http: httpx.Client, worker: Worker, status: str, action: str, code: int, after: str | None
) -> None:
    job = job_in(status, http, worker)
    answer = act(http, action, job)
    if code == 409:
        error = refusal(answer, 409, "invalid-state")
        assert error["details"] == {"status": status}
        assert job in error["message"]
    else:
        assert answer.status_code == code
    if after is None:
        refusal(http.get(f"{JOBS}/{job}"), 404, "not-found")
    else:
        assert retrieve(http, job)["status"] == after


@pytest.mark.parametrize("action", ACTIONS)
def test_an_unknown_job_cannot_be_acted_on(http: httpx.Client, action: str) -> None:
    for job in (UNKNOWN_JOB, "ftjob_x", "x" * 3000, "ftjob_" + "z" * 25):
        refusal(act(http, action, job), 404, "not-found")


def test_a_second_delete_finds_nothing(http: httpx.Client, worker: Worker) -> None:
    job = job_in("stopped", http, worker)
    answer = act(http, "delete", job)
    assert (answer.status_code, answer.content) == (204, b"")
    assert "content-type" not in answer.headers
    refusal(act(http, "delete", job), 404, "not-found")


def test_actions_take_any_body_and_heed_none(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    answer = http.post(f"{JOBS}/{job}/stop", content=b"{broken", headers={"content-type": "a/b"})
    assert answer.status_code == 200


def test_a_stop_is_done_when_it_is_answered(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    assert act(http, "stop", job).json()["status"] == "stopped"
    stopped = retrieve(http, job)
    assert stopped["finishedAt"] is not None
    with pytest.raises(StaleAttempt):
        worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=False)))
    assert retrieve(http, job) == stopped


def test_a_restart_begins_anew_and_keeps_the_log(
    http: httpx.Client, worker: Worker, server: Server
) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=True)))
    worker.report(attempt, StepReported(metrics=metrics(2, is_evaluated=True)))
    worker.end_epoch(attempt, 1)
    before = retrieve(http, job)
    assert before["trainedTokens"] == 200
    assert before["metrics"] == {"trainingLoss": 0.5, "validationLoss": 3.0, "epoch": 2}
    act(http, "stop", job)
    old_lines = http.get(f"{JOBS}/{job}/logs").json()["logs"]
    assert act(http, "restart", job).json()["status"] == "queued"
    after = retrieve(http, job)
    for name in ("startedAt", "finishedAt", "error", "resultModel", "metrics"):
        assert after[name] is None
    assert after["trainedTokens"] == 0
    assert after["createdAt"] == before["createdAt"]
    assert http.get(f"{JOBS}/{job}/metrics").json()["metrics"]["steps"] == []
    lines = http.get(f"{JOBS}/{job}/logs").json()["logs"]
    assert lines[:-1] == old_lines
    assert "anew" in lines[-1]["message"]
    with pytest.raises(StaleAttempt):
        worker.report(attempt, StepReported(metrics=metrics(3, is_evaluated=False)))
    worker.validate(inner(job))
    fresh = worker.lease(inner(job))
    assert fresh.resume_from == ()
    assert fresh.attempt > attempt.attempt
    worker.report(fresh, StepReported(metrics=metrics(1, is_evaluated=False)))
    assert [p["step"] for p in http.get(f"{JOBS}/{job}/metrics").json()["metrics"]["steps"]] == [1]
    assert retrieve(http, job)["trainedTokens"] == 100


def test_a_restarted_job_can_be_completed(http: httpx.Client, worker: Worker) -> None:
    job = job_in("failed", http, worker)
    assert retrieve(http, job)["error"] == "Line 3: it is bad."
    act(http, "restart", job)
    worker.train(inner(job))
    assert retrieve(http, job)["status"] == "completed"


def test_a_path_is_read_again_when_its_job_is_restarted(
    http: httpx.Client, worker: Worker, server: Server
) -> None:
    path = server.import_dir / "again.jsonl"
    path.write_bytes(b'{"text": "one"}\n' * 10)
    job = create_job(http, trainingDataset="again.jsonl")
    act(http, "stop", job)
    path.write_bytes(b'{"text": "two"}\n' * 10)
    act(http, "restart", job)
    assert b"two" in worker.bytes_of(worker.lease(inner(job)).training_file)
    act(http, "stop", job)
    path.unlink()
    refusal(act(http, "restart", job), 422, "unprocessable")
    assert retrieve(http, job)["status"] == "stopped"


def test_a_deployment_says_the_same_each_time(http: httpx.Client, worker: Worker) -> None:
    job = job_in("completed", http, worker, suffix="support-v1")
    assert retrieve(http, job)["resultModel"] == f"{BASE}-support-v1"
    assert retrieve(http, job)["deployed"] is False
    first = act(http, "deploy", job)
    assert first.json() == act(http, "deploy", job).json()
    assert first.json()["status"] == "deployed"
    assert first.json()["resultModel"] == f"{BASE}-support-v1"
    assert retrieve(http, job)["deployed"] is True


def test_a_model_without_a_suffix_is_named_by_its_job(http: httpx.Client, worker: Worker) -> None:
    job = job_in("completed", http, worker)
    assert retrieve(http, job)["resultModel"] == f"{BASE}-{job[-8:]}"


def test_a_name_that_is_taken_gets_the_job_behind_it(http: httpx.Client, worker: Worker) -> None:
    first = job_in("completed", http, worker, suffix="same")
    act(http, "delete", first)
    second = job_in("completed", http, worker, suffix="same")
    assert retrieve(http, second)["resultModel"] == f"{BASE}-same-{second[-8:]}"


def test_other_organizations_take_no_names_away(
    http: httpx.Client, stranger: httpx.Client, worker: Worker
) -> None:
    job_in("completed", stranger, worker, suffix="same")
    job = job_in("completed", http, worker, suffix="same")
    assert retrieve(http, job)["resultModel"] == f"{BASE}-same"


def test_a_model_whose_bytes_are_gone_is_not_deployed(
    http: httpx.Client, worker: Worker, server: Server
) -> None:
    job = job_in("completed", http, worker)
    with server.database.write() as store:
        store.models.delete_base(BASE)
    try:
        answer = act(http, "deploy", job)
        refusal(answer, 503, "unavailable")
        assert answer.headers["retry-after"]
    finally:
        server._offer_base()
    assert retrieve(http, job)["status"] == "completed"


def test_a_paused_job_waits_and_can_be_stopped_or_deleted(
    http: httpx.Client, server: Server, worker: Worker
) -> None:
    jobs = [create_job(http) for _ in range(2)]
    for job in jobs:
        worker.validate(inner(job))
        owner = _owner_of(server, job)
        with server.database.write() as store:
            pausing.come_about(store, store.jobs.get(inner(job), owner), server.house.now())
        assert retrieve(http, job)["status"] == "queued"
    refusal(act(http, "restart", jobs[0]), 409, "invalid-state")
    assert act(http, "stop", jobs[0]).json()["status"] == "stopped"
    assert act(http, "delete", jobs[1]).status_code == 204


def test_late_reports_of_a_deleted_job_are_refused(http: httpx.Client, worker: Worker) -> None:
    job = create_job(http)
    attempt = worker.start(inner(job))
    act(http, "stop", job)
    assert act(http, "delete", job).status_code == 204
    with pytest.raises(StaleAttempt):
        worker.report(attempt, StepReported(metrics=metrics(1, is_evaluated=False)))


def test_a_dataset_is_kept_while_a_job_needs_it(http: httpx.Client, worker: Worker) -> None:
    dataset = upload(http)
    job = create_job(http, trainingDataset=dataset)
    refusal(http.delete(f"/datasets/{dataset}"), 409, "invalid-state")
    act(http, "stop", job)
    assert http.delete(f"/datasets/{dataset}").status_code == 204


def _owner_of(server: Server, job: str) -> Context:
    with server.database.read() as store:
        return store.jobs.get_for_worker(inner(job)).organization_id


def test_a_job_that_other_apis_know_can_be_deleted(
    http: httpx.Client, server: Server, worker: Worker
) -> None:
    key = {"Authorization": f"Bearer {http.headers['x-api-key']}"}
    job = job_in("completed", http, worker, suffix="kept")
    act(http, "deploy", job)
    assert act(http, "delete", job).status_code == 204
    with httpx.Client(base_url=server.url, headers=key, verify=False) as other:
        names = [model["id"] for model in other.get("/v1/models").json()["data"]]
        (name,) = [name for name in names if name.startswith("ft:")]
        assert other.get(f"/v1/models/{name}").status_code == 200
        assert other.get("/v1/fine_tuning/jobs").json()["data"] == []
        results = other.get("/v1/files", params={"purpose": "fine-tune-results"})
        assert results.json()["data"] == []
