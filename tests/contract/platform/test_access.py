"""Keys, scopes and organizations: who may do what, and what others learn of it."""

from typing import Any

import httpx
import pytest

from tests.contract.platform.conftest import Connect
from tests.contract.platform.support import (
    EXAMPLES,
    JOBS,
    create_job,
    job_in,
    refusal,
    upload,
)
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope

READ, WRITE = Scope.JOBS_READ, Scope.JOBS_WRITE
ANY = "ftjob_" + "0" * 25
# Each operation, and what it needs; on things that are not there, which is judged later.
OPERATIONS: dict[str, tuple[Scope, str, str, int]] = {
    "list jobs": (READ, "GET", JOBS, 200),
    "create a job": (WRITE, "POST", JOBS, 400),
    "get a job": (READ, "GET", f"{JOBS}/{ANY}", 404),
    "get a status": (READ, "GET", f"{JOBS}/{ANY}/status", 404),
    "delete a job": (WRITE, "DELETE", f"{JOBS}/{ANY}", 404),
    "stop": (WRITE, "POST", f"{JOBS}/{ANY}/stop", 404),
    "restart": (WRITE, "POST", f"{JOBS}/{ANY}/restart", 404),
    "deploy": (WRITE, "POST", f"{JOBS}/{ANY}/deploy", 404),
    "metrics": (READ, "GET", f"{JOBS}/{ANY}/metrics", 404),
    "logs": (READ, "GET", f"{JOBS}/{ANY}/logs", 404),
    "curves": (READ, "GET", f"{JOBS}/{ANY}/curves", 404),
    "usage": (READ, "GET", "/fine-tuning/usage", 200),
    "usage of answers": (READ, "GET", "/ai/usage", 200),
    "queue": (READ, "GET", "/fine-tuning/queue", 200),
    "models": (READ, "GET", "/fine-tuning/models", 200),
    "estimates": (READ, "POST", "/fine-tuning/estimates", 400),
    "stats": (READ, "GET", "/fine-tuning/stats", 200),
    "base models": (READ, "GET", "/fine-tuning/base-models", 200),
    "hardware": (READ, "GET", "/fine-tuning/hardware", 200),
    "estimate": (READ, "POST", "/fine-tuning/estimate-cost", 400),
    "create a dataset": (WRITE, "POST", "/datasets", 400),
    "list datasets": (READ, "GET", "/datasets", 200),
    "get a dataset": (READ, "GET", "/datasets/ds_x", 404),
    "findings": (READ, "GET", "/datasets/ds_x/findings", 404),
    "tokens of a dataset": (READ, "GET", "/datasets/ds_x/tokens", 404),
    "rows of a dataset": (READ, "GET", "/datasets/ds_x/rows", 404),
    "mend a dataset": (WRITE, "POST", "/datasets/ds_x/fix", 400),
    "delete a dataset": (WRITE, "DELETE", "/datasets/ds_x", 404),
}
KEYS = {
    "read only": frozenset({READ}),
    "write only": frozenset({WRITE}),
    "both": frozenset({READ, WRITE}),
    "all of fine-tuning": frozenset({Scope.ALL_JOBS}),
    "everything": frozenset({Scope.EVERYTHING}),
}


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("key", KEYS)
def test_each_operation_asks_for_its_own_scope_and_no_other(
    server: Server, connect: Connect, operation: str, key: str
) -> None:
    scope, method, path, status = OPERATIONS[operation]
    scopes = KEYS[key]
    answer = connect(server.new_caller(scopes)).request(method, path)
    if scope in scopes or scopes & {Scope.ALL_JOBS, Scope.EVERYTHING}:
        assert answer.status_code == status, answer.text
    else:
        assert f"'{scope.value}'" in refusal(answer, 403, "scope-required")["message"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": "ts_wrong"},
        {"X-API-Key": ""},
        {"X-API-Key": "\xe9"},
        {"Authorization": "Basic dTpw"},
        {"Authorization": "Bearer"},
    ],
)
def test_without_a_good_key_nothing_is_said(
    server: Server, operation: str, headers: dict[str, str]
) -> None:
    _, method, path, _ = OPERATIONS[operation]
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = httpx.request(
        method, f"{server.url}/api/v1{path}", headers=sent, content=b"{broken", verify=False
    )
    refusal(answer, 401, "unauthorized")


def test_a_key_may_come_as_a_bearer(server: Server) -> None:
    headers = {"Authorization": f"Bearer {server.new_caller().secret}"}
    answer = httpx.get(f"{server.url}/api/v1{JOBS}", headers=headers, verify=False)
    assert answer.status_code == 200


def test_a_key_with_write_alone_does_all_that_writes(
    server: Server, connect: Connect, worker: Worker
) -> None:
    http = connect(server.new_caller(frozenset({WRITE})))
    job = create_job(http)
    for action in ("stop", "restart", "stop"):
        assert http.post(f"{JOBS}/{job}/{action}").status_code == 200
    assert http.delete(f"{JOBS}/{job}").status_code == 204


def test_the_scope_is_judged_before_the_query(server: Server, connect: Connect) -> None:
    http = connect(server.new_caller(frozenset({WRITE})))
    refusal(http.get(f"{JOBS}?limit=x"), 403, "scope-required")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/status"),
        ("GET", "/metrics"),
        ("GET", "/logs"),
        ("POST", "/stop"),
        ("POST", "/restart"),
        ("POST", "/deploy"),
        ("DELETE", ""),
    ],
)
@pytest.mark.parametrize("status", ["running", "completed", "stopped"])
def test_a_strangers_job_is_not_there(
    http: httpx.Client,
    stranger: httpx.Client,
    worker: Worker,
    method: str,
    path: str,
    status: str,
) -> None:
    job = job_in(status, stranger, worker)
    refusal(http.request(method, f"{JOBS}/{job}{path}"), 404, "not-found")


def test_nothing_leaks_through_lists_and_counts(
    http: httpx.Client, stranger: httpx.Client, worker: Worker
) -> None:
    job = job_in("completed", stranger, worker, name="secret plan")
    assert http.get(JOBS).json() == {"count": 0, "limit": 20, "offset": 0, "jobs": []}
    assert http.get(JOBS, params={"search": "secret"}).json()["count"] == 0
    assert http.get("/fine-tuning/stats").json()["total"] == 0
    assert http.get("/datasets").json()["count"] == 0
    theirs = stranger.get(f"{JOBS}/{job}").json()["trainingDataset"]
    refusal(http.get(f"/datasets/{theirs}"), 404, "not-found")
    refusal(http.delete(f"/datasets/{theirs}"), 404, "not-found")
    body = {"name": "x", "baseModel": BASE, "trainingDataset": theirs}
    refusal(http.post(JOBS, json=body), 422, "unprocessable")


def test_all_members_of_an_organization_see_its_jobs(server: Server, connect: Connect) -> None:
    caller = server.new_caller()
    job = create_job(connect(caller))
    colleague = server.new_key(caller)
    http = connect(colleague)
    assert http.get(JOBS).json()["count"] == 1
    owner = http.get(f"{JOBS}/{job}").json()["owner"]
    other = http.get(f"{JOBS}/{create_job(http)}").json()["owner"]
    assert owner != other


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "not-found"),
        ("GET", "", 404, "not-found"),
        ("GET", f"{JOBS}/x/y/z", 404, "not-found"),
        ("PUT", JOBS, 405, "method-not-allowed"),
        ("PATCH", f"{JOBS}/{ANY}", 405, "method-not-allowed"),
        ("GET", f"{JOBS}/{ANY}/stop", 405, "method-not-allowed"),
        ("GET", f"{JOBS}/%00", 404, "not-found"),
        ("GET", f"{JOBS}/%ff", 404, "not-found"),
        ("GET", f"{JOBS}/%0a", 404, "not-found"),
    ],
)
def test_what_is_no_route_is_told_in_the_same_form(
    http: httpx.Client, method: str, path: str, status: int, code: str
) -> None:
    refusal(http.request(method, path), status, code)


def test_a_body_that_is_too_large_is_refused(http: httpx.Client) -> None:
    body = b'{"name": "' + b"x" * (33 * 1024 * 1024) + b'"}'
    refusal(http.post(JOBS, content=body), 413, "payload-too-large")


def test_a_dataset_that_is_too_large_is_refused(http: httpx.Client) -> None:
    answer = http.post("/datasets", files={"file": ("t.jsonl", EXAMPLES * 20_000)})
    refusal(answer, 413, "payload-too-large")


def test_a_dataset_belongs_to_those_who_sent_it(http: httpx.Client, stranger: httpx.Client) -> None:
    dataset = upload(http)
    refusal(stranger.get(f"/datasets/{dataset}"), 404, "not-found")
    shown: Any = http.get(f"/datasets/{dataset}").json()
    assert shown["examples"] == 10
