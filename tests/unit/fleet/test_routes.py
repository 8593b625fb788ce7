import asyncio
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter

from tests.factories import base_model, key, metrics, organization, queued_job, registration
from tunesmith.domain.accounts import USER_SCOPES, Organization, Scope
from tunesmith.domain.assignments import (
    Assignment,
    AttemptReleased,
    Registration,
    ReportBatch,
    StepReported,
)
from tunesmith.domain.catalog import WeightFile
from tunesmith.domain.jobs import Job
from tunesmith.fleet import routes
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.services.context import House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database

WORKER_KEY, USER_KEY = "ts_worker-key-for-tests-0001", "ts_user-key-for-tests-000002"
BOX = registration("box")
Ask = Callable[..., httpx.Response]


@pytest.fixture
def owner(database: Database) -> Organization:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
        store.accounts.add_key(key(made, WORKER_KEY, frozenset({Scope.WORKER})))
        store.accounts.add_key(key(made, USER_KEY, USER_SCOPES))
        store.models.put_base(base_model())
    return made


@pytest.fixture
def fleet(database: Database, house: House, owner: Organization) -> FastAPI:
    return routes.build(Foundation(database=database, house=house), Hub())


@pytest.fixture
def ask(fleet: FastAPI) -> Ask:
    def ask(
        method: str, path: str, body: Any = None, *, secret: str = WORKER_KEY, **parts: Any
    ) -> httpx.Response:
        async def in_loop() -> httpx.Response:
            transport = httpx.ASGITransport(app=fleet)
            headers = {"authorization": f"Bearer {secret}"}
            content = None if body is None else TypeAdapter(type(body)).dump_json(body)
            if body is not None:
                headers["content-type"] = "application/json"
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
                return await http.request(
                    method, path, headers=headers, **({"content": content} | parts)
                )

        return asyncio.run(in_loop())

    return ask


LEASE = "/lease?task=validate&task=train"


def lease(ask: Ask) -> Assignment | None:
    answer = ask("POST", LEASE, BOX).raise_for_status()
    return TypeAdapter(Assignment | None).validate_json(answer.content)


@pytest.fixture
def job(database: Database, owner: Organization) -> Job:
    with database.write() as store:
        return queued_job(store, owner)


ROUTES = [
    ("POST", "/register", BOX),
    ("POST", LEASE, BOX),
    ("POST", f"/jobs/{UUID(int=1)}/attempts/1/reports", ReportBatch(sequence=1)),
    ("GET", "/blobs/" + "a" * 64, None),
    ("PUT", "/blobs/" + "a" * 64, None),
    ("GET", "/base-models/config.json?name=base", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_wrong_key_is_turned_away(ask: Ask, method: str, path: str, body: Any) -> None:
    answer = ask(method, path, body, secret="ts_wrong")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")


@pytest.mark.parametrize(("method", "path", "body"), ROUTES)
def test_a_users_key_is_no_workers_key(ask: Ask, method: str, path: str, body: Any) -> None:
    answer = ask(method, path, body, secret=USER_KEY)
    assert (answer.status_code, answer.json()["code"]) == (403, "permission_denied")


def test_a_registered_worker_leases_a_job_and_reports(ask: Ask, job: Job) -> None:
    assert ask("POST", "/register", BOX).status_code == 204
    assignment = lease(ask)
    assert assignment is not None
    assert (assignment.job_id, assignment.base_model) == (job.id, base_model())
    path = f"/jobs/{job.id}/attempts/{assignment.attempt}/reports"
    batch = ReportBatch(sequence=1, reports=(StepReported(metrics=metrics(1)),))
    answer = ask("POST", path, batch)
    assert (answer.status_code, answer.json()) == (200, {"wanted": None})


def test_with_nothing_to_do_the_answer_is_nothing(ask: Ask) -> None:
    ask("POST", "/register", BOX)
    assert lease(ask) is None


def test_a_worker_whose_name_was_taken_is_told_so(ask: Ask, job: Job) -> None:
    ask("POST", "/register", BOX)
    other = Registration(name="box", incarnation=uuid4(), version="0")
    ask("POST", "/register", other)
    assert ask("POST", LEASE, BOX).status_code == 409


def test_a_stale_attempt_is_a_conflict(ask: Ask, job: Job) -> None:
    ask("POST", "/register", BOX)
    assert lease(ask) is not None
    path = f"/jobs/{job.id}/attempts/1/reports"
    assert ask("POST", path, ReportBatch(sequence=1, reports=(AttemptReleased(),))).is_success
    answer = ask("POST", path, ReportBatch(sequence=2))
    assert (answer.status_code, answer.json()["code"]) == (409, "stale_attempt")


def test_bytes_can_be_published_and_fetched(ask: Ask) -> None:
    path = f"/blobs/{hashlib.sha256(b'hello').hexdigest()}"
    assert ask("PUT", path, content=b"hello").status_code == 204
    assert ask("GET", path).content == b"hello"


def test_bytes_that_are_not_what_their_name_says_are_refused_and_not_stored(
    ask: Ask, blobs: Blobs
) -> None:
    promised, sent = (hashlib.sha256(text).hexdigest() for text in (b"hello", b"broken"))
    assert ask("PUT", f"/blobs/{promised}", content=b"broken").status_code == 400
    assert not blobs.has(promised)
    assert not blobs.has(sent)


def test_a_server_without_room_says_so_and_takes_what_it_has_already(
    ask: Ask, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = house.blobs.put(b"there")
    monkeypatch.setattr(house.blobs, "min_free_bytes", 2**80)
    refused = ask("PUT", f"/blobs/{hashlib.sha256(b'new').hexdigest()}", content=b"new")
    assert (refused.status_code, refused.json()["code"]) == (503, "disk_full")
    assert "The disk of the server is full: needs" in refused.json()["message"]
    assert ask("PUT", f"/blobs/{there.sha256}", content=b"there").status_code == 204


@pytest.mark.parametrize("name", ["..%2f..%2ftunesmith.db", "a" * 64, "tunesmith.db"])
def test_nothing_but_blobs_can_be_fetched(ask: Ask, name: str) -> None:
    assert ask("GET", f"/blobs/{name}").status_code == 404


def test_of_a_base_model_only_the_listed_files_can_be_fetched(
    ask: Ask, database: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "secret.txt"):
        (folder / name).write_text(name)
    listed = (WeightFile(name="config.json", size_bytes=11),)
    with database.write() as store:
        store.models.put_base(base_model("org/own", folder=str(folder), files=listed))
    fetched = ask("GET", "/base-models/config.json", params={"name": "org/own"})
    assert fetched.text == "config.json"
    for file in ("secret.txt", "..%2fmodel%2fconfig.json", "nothing.json"):
        assert ask("GET", f"/base-models/{file}", params={"name": "org/own"}).status_code == 404
    assert ask("GET", "/base-models/config.json", params={"name": "other"}).status_code == 404


def test_a_checkpoint_whose_files_would_lie_elsewhere_is_refused(ask: Ask, job: Job) -> None:
    ask("POST", "/register", BOX)
    assert lease(ask) is not None
    artifact = {"name": "../../evil", "blob": {"sha256": "a" * 64, "size_bytes": 1}}
    report = {"type": "checkpoint", "step": 1, "epoch": None, "artifacts": [artifact]}
    body = {"sequence": 1, "reports": [report]}
    answer = ask("POST", f"/jobs/{job.id}/attempts/1/reports", body)
    assert answer.status_code == 400
