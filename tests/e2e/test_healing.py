"""What goes wrong in one job is mended there, or fails it with a sentence; others never know."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.recipes import adapter_of, create_job, lock_of
from tests.e2e.service import Service, wait_for_job, wait_until

JOBS = "/api/v1/fine-tuning/jobs"
HOST = "tunesmith.compute.host"


def _create(http: httpx.Client, rows: bytes, seed: int = 1, **hyperparameters: Any) -> str:
    files = {"file": ("t.jsonl", rows)}
    dataset = http.post("/api/v1/datasets", files=files).raise_for_status().json()["id"]
    body = {
        "name": "job",
        "baseModel": BASE,
        "trainingDataset": dataset,
        "seed": seed,
        "hyperparameters": hyperparameters,
    }
    return str(http.post(JOBS, json=body).raise_for_status().json()["id"])


def _ended(http: httpx.Client, job: str) -> Any:
    wait_until(lambda: http.get(f"{JOBS}/{job}").json()["finishedAt"] is not None, "the job's end")
    return http.get(f"{JOBS}/{job}").json()


def _warnings(http: httpx.Client, job: str) -> list[str]:
    logs = http.get(f"{JOBS}/{job}/logs", params={"lines": 1000}).json()["logs"]
    return [line["message"] for line in logs if line["level"] == "warning"]


def _rows_that_agree_but_for_one(num_rows: int) -> bytes:
    """One answer is nothing that the others would lead to expect."""
    rows = []
    for number in range(num_rows):
        answer = "a" if number else "§ß~ñ#¿%"
        messages = [
            {"role": "user", "content": f"Is {number} a number?"},
            {"role": "assistant", "content": answer},
        ]
        rows.append(json.dumps({"messages": messages}))
    return "\n".join(rows).encode()


@pytest.fixture(scope="module")
def in_turns(make_service: ServiceMaker) -> Service:
    """Jobs in company are the same to the bit as alone."""
    service = make_service(max_pass_tokens="0")
    service.start()
    return service


def test_jobs_that_diverge_go_back_and_the_one_beside_them_learns_what_it_would_alone(
    in_turns: Service,
) -> None:
    alone = wait_for_job(in_turns, create_job(in_turns, n_epochs=3))
    [host] = in_turns.processes(HOST)
    beside = create_job(in_turns, n_epochs=3)
    with in_turns.http as http:
        ruined = _create(http, conversations(100), epochs=4, batchSize=4, learningRate=100)
        uneven = _create(
            http,
            _rows_that_agree_but_for_one(60),
            seed=2,
            epochs=3,
            batchSize=1,
            learningRate=0.02,
            learningRateSchedule="constant",
        )
        failed, tries = _ended(http, ruined), _warnings(http, ruined)
        healed, spikes = _ended(http, uneven), _warnings(http, uneven)
        figures = http.get(f"{JOBS}/{uneven}/metrics").json()["metrics"]["steps"]
    ended = wait_for_job(in_turns, beside)

    assert failed["status"] == "failed"
    assert failed["error"].endswith("Try a lower learning rate.")
    assert ["went back to step 0" in told for told in tries] == [True, True]
    assert ["(1 of 2 tries)" in tries[0], "(2 of 2 tries)" in tries[1]] == [True, True]
    assert healed["status"] == "completed"
    assert len(spikes) == 2
    assert all("more than 5 times what is usual" in spike for spike in spikes)
    assert [figures[0]["step"], figures[-1]["step"]] == [1, 180]
    assert figures[-1]["learningRate"] == 0.02 / 4
    assert in_turns.processes(HOST) == [host]
    assert not lock_of(in_turns, ended.fine_tuned_model)["was_alone"]
    assert adapter_of(in_turns, ended.fine_tuned_model) == adapter_of(
        in_turns, alone.fine_tuned_model
    )
