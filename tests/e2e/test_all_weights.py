"""All weights are trained: the model is a whole one, and answers wherever models are asked."""

import json
import os
import signal
from typing import Any

import httpx

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import Service, wait_until
from tests.e2e.test_reproduce import _reproduce

JOBS = "/api/v1/fine-tuning/jobs"
HOST = "tunesmith.compute.host"


def _create(http: httpx.Client, base: str = BASE, suffix: str = "whole", epochs: int = 10) -> str:
    files = {"file": ("t.jsonl", conversations(120))}
    dataset = http.post("/api/v1/datasets", files=files).raise_for_status().json()["id"]
    body = {
        "name": "whole",
        "baseModel": base,
        "trainingDataset": dataset,
        "method": "full",
        "suffix": suffix,
        "hyperparameters": {"epochs": epochs, "batchSize": 4, "learningRate": 0.003},
    }
    return str(http.post(JOBS, json=body).raise_for_status().json()["id"])


def _kill_its_host_behind_a_checkpoint(service: Service, http: httpx.Client, job: str) -> None:
    def has_checkpoint() -> bool:
        inner = http.get("/v1/fine_tuning/jobs").json()["data"][0]["id"]
        return bool(http.get(f"/v1/fine_tuning/jobs/{inner}/checkpoints").json()["data"])

    wait_until(has_checkpoint, "a checkpoint")
    assert http.get(f"{JOBS}/{job}").json()["status"] == "running"
    [pid] = service.processes(HOST)
    os.kill(pid, signal.SIGKILL)


def _asked(http: httpx.Client, path: str, model: str) -> str:
    messages = [
        {"role": "system", "content": "Answer with the code of the colour."},
        {"role": "user", "content": "Item 2 is blue."},
    ]
    body = {"model": model, "messages": messages, "temperature": 0, "max_tokens": 12}
    answer: Any = http.post(path, json=body).raise_for_status().json()
    return str(answer["choices"][0]["message"]["content"])


def test_a_job_that_was_killed_makes_a_whole_model_that_answers(
    make_service: ServiceMaker,
) -> None:
    service = make_service(checkpoint_seconds="0.5")
    service.start()
    with service.http as http:
        job = _create(http)
        _kill_its_host_behind_a_checkpoint(service, http, job)
        wait_until(lambda: http.get(f"{JOBS}/{job}").json()["finishedAt"] is not None, "the end")
        ended = http.get(f"{JOBS}/{job}").json()
        assert ended["status"] == "completed", ended["error"]
        logs = [
            line["message"] for line in http.get(f"{JOBS}/{job}/logs?lines=1000").json()["logs"]
        ]
        assert any("a copy of the base model to itself" in line for line in logs), logs
        assert http.post(f"{JOBS}/{job}/deploy").is_success

        name = ended["resultModel"]
        [tuned] = [
            m["id"]
            for m in http.get("/v1/models").json()["data"]
            if m["id"].startswith("ft:") and ":ckpt-" not in m["id"]
        ]
        account = http.get("/client/v4/accounts").json()["result"][0]["id"]
        answers = [
            _asked(http, "/v1/chat/completions", tuned),
            _asked(http, "/api/v1/ai/chat/completions", name),
            _asked(http, f"/client/v4/accounts/{account}/ai/v1/chat/completions", name),
        ]
        assert answers == ["code-bl"] * 3
        assert _asked(http, "/v1/chat/completions", BASE) != "code-bl"

        listed = http.get(f"/v1/models/{tuned}/files").json()["data"]
        names = {file["name"] for file in listed}
        assert names >= {"config.json", "model.safetensors", "tokenizer.json", "job.lock"}
        lock = json.loads(http.get(f"/v1/models/{tuned}/files/job.lock").raise_for_status().content)
        assert {"config.json", "model.safetensors"} == lock["result"].keys()
        assert len(lock["attempts"]) == 2

        [made] = http.get("/v1/fine_tuning/jobs").json()["data"]
        asked = {"model": tuned, "training_file": made["training_file"]}
        refused = http.post("/v1/fine_tuning/jobs", json=asked)
        assert refused.status_code == 400
        assert "has no adapter to go on with" in refused.json()["error"]["message"]

        further = _create(http, base=tuned, suffix="further", epochs=1)
        wait_until(lambda: http.get(f"{JOBS}/{further}").json()["finishedAt"], "the second job")
        first, second = (
            http.get(f"{JOBS}/{which}/metrics").json()["metrics"]["steps"][0]["trainingLoss"]
            for which in (job, further)
        )
        assert second < first / 10  # it begins where the first has ended
        assert http.post(f"{JOBS}/{further}/deploy").is_success
        ids = [m["id"] for m in http.get("/v1/models").json()["data"]]
        [result] = [name for name in ids if ":further:" in name and ":ckpt-" not in name]
        content = http.get(f"/v1/models/{result}/files/job.lock").raise_for_status().content
        base = json.loads(content)["base_model"]["files"]
        assert base["model.safetensors"] == lock["result"]["model.safetensors"]
        name = http.get(f"{JOBS}/{further}").json()["resultModel"]
        assert _asked(http, "/api/v1/ai/chat/completions", name) == "code-bl"

    done = _reproduce(service, made["id"])
    assert done.returncode == 0, done.stderr
    assert "The models are equal, byte for byte." in done.stdout
    service.stop()
