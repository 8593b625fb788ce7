"""Small things that these tests need again and again."""

import json
from typing import Any
from uuid import UUID

import httpx

from tests.contract.server import BASE
from tests.contract.worker import Worker
from tunesmith.dialects.platform import translate
from tunesmith.domain.jobs import Failure

EXAMPLE = {
    "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
}
EXAMPLES = "\n".join(json.dumps(EXAMPLE) for _ in range(10)).encode()
UNKNOWN_JOB = "ftjob_" + "0" * 25
JOBS = "/fine-tuning/jobs"


def upload(http: httpx.Client, content: bytes = EXAMPLES, filename: str = "train.jsonl") -> str:
    answer = http.post("/datasets", files={"file": (filename, content)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def create_job(http: httpx.Client, **fields: Any) -> str:
    fields.setdefault("name", "Support")
    fields.setdefault("baseModel", BASE)
    if "trainingDataset" not in fields:
        fields["trainingDataset"] = upload(http)
    answer = http.post(JOBS, json=fields)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def job_in(status: str, http: httpx.Client, worker: Worker, **fields: Any) -> str:
    """A job that has been brought into a status."""
    job = create_job(http, **fields)
    match status:
        case "running":
            worker.start(inner(job))
        case "completed":
            worker.train(inner(job))
        case "failed":
            failure = Failure(code="bad_example", message="Line 3: it is bad.")
            worker.fail(inner(job), failure)
        case "stopped":
            act(http, "stop", job)
    assert retrieve(http, job)["status"] == status
    return job


def act(http: httpx.Client, action: str, job: str) -> httpx.Response:
    if action == "delete":
        return http.delete(f"{JOBS}/{job}")
    return http.post(f"{JOBS}/{job}/{action}")


def retrieve(http: httpx.Client, job: str) -> dict[str, Any]:
    answer = http.get(f"{JOBS}/{job}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def inner(job: str) -> UUID:
    return translate.inner_job_id(job)


def refusal(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The error of an answer, in the form that all of them have."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"success", "error", "meta"}
    assert body["success"] is False
    assert body["meta"] == {"requestId": answer.headers["x-request-id"]}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code
    assert error["message"].endswith(".")
    return error
