"""The Cloudflare dialect's OpenAPI document, put to the proof."""

from pathlib import Path

import httpx

from conformance.conftest import Figure
from conformance.documents import SEED, VERSION, num_requests_passed
from tests import adapter_files
from tests.contract.server import BASE, Server
from tunesmith.domain.adapters import FILE_NAMES

MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 600


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    server = Server(tmp_path)
    caller = server.new_caller(email="ada@example.org")
    account = caller.organization.id.hex
    url, headers = f"{server.url}/client/v4", {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=url, headers=headers) as http:
        document = http.get("/openapi.json").raise_for_status().json()
        finetunes = [_made(http, account, name) for name in ("whole", "empty")]
    with httpx.Client(base_url=url, headers=headers) as http:
        for name, content in _files().items():
            http.post(
                f"/accounts/{account}/ai/finetunes/whole/finetune-assets",
                data={"file_name": name},
                files={"file": ("blob", content)},
            ).raise_for_status()
    num_requests = num_requests_passed(
        document,
        {
            "account_id": [account],
            "finetune": [*finetunes, "whole"],
            "file_name": list(FILE_NAMES),
            "model": [BASE],
            "lora": ["whole", "empty"],
        },
        url,
        headers,
        folder=tmp_path,
        examples_per_route=EXAMPLES_PER_ROUTE,
    )
    server.close()
    figure(f"schemathesis {VERSION}, seed {SEED}, Cloudflare dialect", f"{num_requests:,} requests")
    assert num_requests >= MIN_REQUESTS


def _made(http: httpx.Client, account: str, name: str) -> str:
    body = {"model": BASE, "name": name}
    made = http.post(f"/accounts/{account}/ai/finetunes", json=body).raise_for_status().json()
    return str(made["result"]["id"])


def _files() -> dict[str, bytes]:
    return dict(zip(FILE_NAMES, (adapter_files.config(), adapter_files.weights()), strict=True))
