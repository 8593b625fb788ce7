"""The Cloudflare dialect's OpenAPI document, put to the proof."""

from pathlib import Path

import httpx

from conformance.conftest import Figure
from conformance.documents import SEED, VERSION, num_requests_passed
from tests import adapter_files
from tests.contract.server import ALIAS, BASE, Server
from tunesmith.domain.adapters import FILE_NAMES

MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 320
WHOLE = [f"whole-{number}" for number in range(10)]  # as many of them are deleted on the way
EMPTY = [f"empty-{number}" for number in range(10)]


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    server = Server(tmp_path)
    caller = server.new_caller(email="ada@example.org")
    account = caller.organization.id.hex
    url, headers = f"{server.url}/client/v4", {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=url, headers=headers) as http:
        document = http.get("/openapi.json").raise_for_status().json()
        for name in (*WHOLE, *EMPTY):
            _make(http, account, name)
        for name in WHOLE:
            _fill(http, account, name)
    num_requests = num_requests_passed(
        document,
        {
            "account_id": [account],
            "finetune": [*WHOLE, *EMPTY],
            "file_name": list(FILE_NAMES),
            "model": [ALIAS],  # schemathesis puts no slash into a path
            "lora": [WHOLE[0], EMPTY[0]],
        },
        url,
        headers,
        folder=tmp_path,
        examples_per_route=EXAMPLES_PER_ROUTE,
    )
    server.close()
    figure(f"schemathesis {VERSION}, seed {SEED}, Cloudflare dialect", f"{num_requests:,} requests")
    assert num_requests >= MIN_REQUESTS


def _make(http: httpx.Client, account: str, name: str) -> None:
    body = {"model": BASE, "name": name}
    http.post(f"/accounts/{account}/ai/finetunes", json=body).raise_for_status()


def _fill(http: httpx.Client, account: str, name: str) -> None:
    contents = (adapter_files.config(), adapter_files.weights())
    for file_name, content in zip(FILE_NAMES, contents, strict=True):
        http.post(
            f"/accounts/{account}/ai/finetunes/{name}/finetune-assets",
            data={"file_name": file_name},
            files={"file": ("blob", content)},
        ).raise_for_status()
