"""Our own OpenAPI document against our own server, by a program that tries to prove it wrong."""

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx

from conformance.conftest import Figure
from conformance.environments import environment, python_with
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate

PLAIN = "tiny-1b"  # without a slash, which schemathesis puts into no path
VERSION = "4.32.5"
SEED = 20260821
MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 600
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
EXAMPLE = {
    "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
}
EXAMPLES = "\n".join(json.dumps(EXAMPLE) for _ in range(10)).encode()


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    python = python_with(f"schemathesis-{VERSION}", f"schemathesis=={VERSION}")
    server = Server(tmp_path)
    caller = server.new_caller()
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


def _things(http: httpx.Client, server: Server) -> dict[str, str]:
    """Something that there is, for each name by which the document asks for one."""
    file = http.post(
        "/files", data={"purpose": "fine-tune"}, files={"file": ("train.jsonl", EXAMPLES)}
    ).json()["id"]
    with server.database.write() as store:
        base = store.models.find_base(BASE)
        assert base is not None
        store.models.put_base(replace(base, name=PLAIN, aliases=()))
    job = http.post("/fine_tuning/jobs", json={"model": PLAIN, "training_file": file}).json()["id"]
    Worker(server).train(translate.inner_id("job", job))
    model = http.get(f"/fine_tuning/jobs/{job}").json()["fine_tuned_model"]
    return {"file_id": file, "training_file": file, "job_id": job, "name": model, "model": PLAIN}


def _with_names(value: Any, names: dict[str, str]) -> Any:
    """The document, where a name may also be that of something that there is."""
    if isinstance(value, list):
        return [_with_names(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    if "in" in value and "schema" in value and value["name"] in names:
        return {**value, "schema": _either(value["schema"], names[value["name"]])}
    properties = value.get("properties", {})
    known = {name: _either(properties[name], names[name]) for name in properties if name in names}
    inner = {key: _with_names(item, names) for key, item in value.items()}
    return {**inner, "properties": {**inner["properties"], **known}} if known else inner


def _either(schema: Any, name: str) -> Any:
    return {"anyOf": [{"const": name}, schema]} if schema.get("type") == "string" else schema
