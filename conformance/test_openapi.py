"""Our own OpenAPI document against our own server, by a program that tries to prove it wrong."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from conformance.conftest import Figure
from conformance.environments import environment, python_with
from tests.contract.openai.support import EXAMPLES
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate
from tunesmith.domain.accounts import USER_SCOPES, Scope

Things = dict[str, list[str]]

PLAIN = "tiny-1b"  # without a slash, which schemathesis puts into no path
VERSION = "4.32.5"
SEED = 20260821
MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 300
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    python = python_with(f"schemathesis-{VERSION}", f"schemathesis=={VERSION}")
    server = Server(tmp_path)
    caller = server.new_caller(USER_SCOPES | {Scope.ADMIN})
    url = f"{server.url}/v1"
    document, report = tmp_path / "openapi.json", tmp_path / "report.json"
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {caller.secret}"}) as http:
        described = http.get("/openapi.json").raise_for_status().json()
        document.write_text(json.dumps(_with_names(described, _things(http, server))))
    options = {
        "--url": url,
        "--header": f"Authorization: Bearer {caller.secret}",
        "--checks": ",".join(CHECKS),
        "--max-examples": str(EXAMPLES_PER_ROUTE),
        "--seed": str(SEED),
        "--generation-database": "none",
        "--suppress-health-check": "filter_too_much",  # of names, all with a slash are filtered out
        "--warnings": "off",
        "--report-json-path": str(report),
    }
    command = [python.parent / "st", "run", document, "--no-color", "--continue-on-failure"]
    done = subprocess.run(
        [*command, *(word for option in options.items() for word in option)],
        cwd=tmp_path,
        env=environment(),
    )
    server.close()
    num_requests = json.loads(report.read_text())["test_cases"]["generated"]
    figure(f"schemathesis {VERSION}, seed {SEED}", f"{num_requests:,} requests")
    assert done.returncode == 0
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


def _with_names(value: Any, names: Things) -> Any:
    """The document, where a name may also be that of something that there is."""
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if "in" in value and "schema" in value and value["name"] in names:
        return {**value, "schema": _either(value["schema"], names[value["name"]])}
    properties = value.get("properties", {})
    known = {name: _either(properties[name], names[name]) for name in properties if name in names}
    inner = {  # but in graders, where schemathesis could not tell what is none of them
        key: item if key.endswith("Grader") else _with_names(item, names)
        for key, item in value.items()
    }
    return {**inner, "properties": {**inner["properties"], **known}} if known else inner


def _either(schema: Any, names: list[str]) -> Any:
    return {"anyOf": [{"enum": names}, schema]} if schema.get("type") == "string" else schema
