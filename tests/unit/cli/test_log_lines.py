"""One JSON object a line, with the ids that an operator searches by and no word of users."""

import json
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, httpx
from fastapi import FastAPI
from tunesmith.cli import logs
from tunesmith.wire.request_log import RequestIds
logs.set_up("info")
app = FastAPI()
@app.get("/jobs/{job_id}/attempts/{attempt}")
async def read(job_id: str, attempt: int) -> None: ...
@app.get("/files/{name}")
async def file(name: str) -> None: ...
app.add_middleware(RequestIds)
async def main():
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
        for path, given in (("/jobs/j-1/attempts/2", "mine-1"), ("/files/my-name", "not safe")):
            answer = await http.get(path + "?q=my-words", headers={"X-Request-Id": given})
            print(answer.headers["x-request-id"])
asyncio.run(main())
"""


@pytest.fixture(scope="module")
def ran() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", PROGRAM]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_a_line_has_the_ids_of_the_request_and_its_job(
    ran: subprocess.CompletedProcess[str],
) -> None:
    first = json.loads(ran.stderr.splitlines()[0])
    assert first.pop("ts").endswith("Z")
    assert first.pop("ms") >= 0
    assert first == {
        "event": "request",
        "level": "info",
        "method": "GET",
        "route": "/jobs/{job_id}/attempts/{attempt}",
        "status": 200,
        "request_id": "mine-1",
        "job": "j-1",
        "attempt": "2",
    }


def test_an_id_that_is_not_safe_is_replaced(ran: subprocess.CompletedProcess[str]) -> None:
    given = ran.stdout.splitlines()
    assert given[0] == "mine-1"
    assert given[1].startswith("req_")


def test_what_users_write_is_in_no_line(ran: subprocess.CompletedProcess[str]) -> None:
    assert "my-name" not in ran.stderr
    assert "my-words" not in ran.stderr
