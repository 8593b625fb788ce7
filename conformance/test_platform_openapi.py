"""The platform dialect's OpenAPI document, put to the proof."""

from pathlib import Path

import httpx

from conformance.conftest import Figure
from conformance.documents import SEED, VERSION, num_requests_passed
from tests.contract.platform.support import create_job, job_in, upload
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker

MIN_REQUESTS = 10_000
EXAMPLES_PER_ROUTE = 400


def test_the_server_answers_as_its_document_says(tmp_path: Path, figure: Figure) -> None:
    server = Server(tmp_path)
    key = server.new_caller().secret
    url, headers = f"{server.url}/api/v1", {"X-API-Key": key}
    with httpx.Client(base_url=url, headers=headers) as http:
        document = http.get("/openapi.json").raise_for_status().json()
        worker = Worker(server)
        jobs = [job_in(status, http, worker) for status in ("completed", "running", "failed")]
        jobs += [create_job(http), job_in("stopped", http, worker)]
        datasets = [upload(http), upload(http)]
        http.post(f"/fine-tuning/jobs/{jobs[0]}/deploy").raise_for_status()
    num_requests = num_requests_passed(
        document,
        {
            "job_id": jobs,
            "dataset_id": datasets,
            "trainingDataset": datasets,
            "baseModel": [BASE],
            "model": [BASE],
        },
        url,
        headers,
        folder=tmp_path,
        examples_per_route=EXAMPLES_PER_ROUTE,
    )
    server.close()
    figure(f"schemathesis {VERSION}, seed {SEED}, platform dialect", f"{num_requests:,} requests")
    assert num_requests >= MIN_REQUESTS
