"""The OpenAI dialect's OpenAPI document, put to the proof."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from conformance.conftest import Figure
from conformance.documents import SEED, VERSION, Things, num_requests_passed
from tests.contract.openai.support import EXAMPLES
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate
from tunesmith.domain.accounts import USER_SCOPES, Scope

PLAIN = "tiny-1b"  # without a slash, which schemathesis puts into no path
MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 300


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    server = Server(tmp_path)
    caller = server.new_caller(USER_SCOPES | {Scope.ADMIN})
    url, headers = f"{server.url}/v1", {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=url, headers=headers) as http:
        document = http.get("/openapi.json").raise_for_status().json()
        things = _things(http, server)
    num_requests = num_requests_passed(
        document, things, url, headers, folder=tmp_path, examples_per_route=EXAMPLES_PER_ROUTE
    )
    server.close()
    figure(f"schemathesis {VERSION}, seed {SEED}, OpenAI dialect", f"{num_requests:,} requests")
    assert num_requests >= MIN_REQUESTS


def _things(http: httpx.Client, server: Server) -> Things:
    """What there is, by the names under which the document asks for it."""
    with server.database.write() as store:
        base = store.models.find_base(BASE)
        assert base is not None
        store.models.put_base(replace(base, name=PLAIN, aliases=()))
    part = {"file": ("train.jsonl", EXAMPLES)}
    file = _made(http, "/files", data={"purpose": "fine-tune"}, files=part)
    new_job = {"model": PLAIN, "training_file": file, "metadata": {"a": "b"}}
    jobs = [_made(http, "/fine_tuning/jobs", json=new_job) for _ in range(3)]
    trained, running, paused = (translate.inner_id("job", job) for job in jobs)
    worker = Worker(server)
    worker.train(trained)
    worker.start(running)
    worker.validate(paused)
    http.post(f"/fine_tuning/jobs/{jobs[2]}/pause").raise_for_status()
    model = http.get(f"/fine_tuning/jobs/{jobs[0]}").json()["fine_tuned_model"]
    new_upload = {"bytes": 10, "filename": "a.jsonl", "mime_type": "", "purpose": "fine-tune"}
    uploads = [_made(http, "/uploads", json=new_upload) for _ in range(2)]
    path = f"/fine_tuning/checkpoints/{model}/permissions"
    granted = http.post(path, json={"project_ids": ["a"]}).raise_for_status().json()
    return {
        "file_id": [file],
        "training_file": [file],
        "job_id": jobs,
        "name": [model, PLAIN],
        "model": [PLAIN, model],
        "upload_id": uploads,
        "permission_id": [granted["data"][0]["id"]],
        "project_id": ["a"],
    }


def _made(http: httpx.Client, path: str, **content: Any) -> str:
    return str(http.post(path, **content).raise_for_status().json()["id"])
