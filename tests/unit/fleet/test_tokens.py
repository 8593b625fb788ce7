"""The connection over which workers answer."""

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import TypeAdapter
from starlette.testclient import TestClient, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from tests.factories import (
    base_model,
    embed_request,
    key,
    organization,
    queued_job,
    registration,
    sample_request,
)
from tunesmith.domain.accounts import Organization, Scope
from tunesmith.domain.assignments import (
    Asked,
    JobsWait,
    Registration,
    ReportBatch,
    SampleOutput,
    SamplePart,
    SampleRequest,
    Validated,
)
from tunesmith.domain.jobs import Task
from tunesmith.fleet import routes
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.services.context import House
from tunesmith.store.database import Database

WORKER_KEY, USER_KEY = "ts_worker-key-for-tests-0001", "ts_user-key-for-tests-000002"
URL = "/tokens?worker=box"


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def owner() -> Organization:
    return organization()


@pytest.fixture
def client(database: Database, house: House, hub: Hub, owner: Organization) -> Iterator[TestClient]:
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.accounts.add_key(key(owner, WORKER_KEY, frozenset({Scope.WORKER})))
        store.accounts.add_key(key(owner, USER_KEY, frozenset({Scope.INFERENCE})))
    foundation = Foundation(database=database, house=house, announce=hub.announce)
    app: FastAPI = routes.build(foundation, hub)
    with TestClient(app) as client:
        yield client


@contextmanager
def connected(client: TestClient, secret: str = WORKER_KEY) -> Iterator[WebSocketTestSession]:
    headers = {"authorization": f"Bearer {secret}"}
    with client.websocket_connect(URL, headers=headers) as socket:
        yield socket


class Asking:
    """A caller on the server's event loop, while the test plays the worker."""

    def __init__(self, client: TestClient, hub: Hub, request: SampleRequest) -> None:
        self.outputs: list[SampleOutput] = []
        portal: Any = client.portal

        async def collect(outputs: AsyncIterator[SampleOutput]) -> None:
            async for output in outputs:
                self.outputs.append(output)

        self._thread = threading.Thread(target=portal.call, args=(collect, hub.sample(request)))
        self._thread.start()

    def join(self) -> list[SampleOutput]:
        self._thread.join(timeout=10)
        assert not self._thread.is_alive()
        return self.outputs


@pytest.mark.parametrize("secret", ["ts_wrong", USER_KEY])
def test_only_a_workers_key_may_connect(client: TestClient, secret: str) -> None:
    with pytest.raises(WebSocketDisconnect) as refused, connected(client, secret):
        pass
    assert refused.value.code == 4401


def test_requests_go_out_and_tokens_come_in(client: TestClient, hub: Hub) -> None:
    with connected(client) as socket:
        asking = Asking(client, hub, sample_request())
        assert socket.receive_json()["request_id"] == "one"
        socket.send_json([{"request_id": "one", "part": "delta", "text": "Hi"}])
        socket.send_json([{"request_id": "one", "part": "done", "finish_reason": "stop"}])
        assert [output.part for output in asking.join()] == [SamplePart.DELTA, SamplePart.DONE]


def test_a_request_that_cannot_be_written_down_fails_alone(client: TestClient, hub: Hub) -> None:
    half = [{"role": "user", "content": "\ud83d"}]
    with connected(client) as socket:
        broken = Asking(client, hub, sample_request("broken", messages=half))
        (failed,) = broken.join()
        assert (failed.part, failed.code) == (SamplePart.FAILED, "bad_conversation")
        asking = Asking(client, hub, sample_request("two"))
        assert socket.receive_json()["request_id"] == "two"
        socket.send_json([{"request_id": "two", "part": "done", "finish_reason": "stop"}])
        assert len(asking.join()) == 1


def test_an_embedding_goes_out_as_asked_and_comes_in(client: TestClient, hub: Hub) -> None:
    asked = embed_request(text=None, token_ids=[1, 2])
    told: list[SampleOutput] = []
    portal: Any = client.portal

    async def embed() -> None:
        told.append(await hub.embed(asked))

    with connected(client) as socket:
        asking = threading.Thread(target=portal.call, args=(embed,))
        asking.start()
        assert TypeAdapter(Asked).validate_json(socket.receive_text()) == asked
        answer = SampleOutput(request_id="one", part=SamplePart.EMBEDDING, embedding=(0.5, -0.5))
        socket.send_text(TypeAdapter(list[SampleOutput]).dump_json([answer]).decode())
        asking.join(timeout=10)
    assert told == [answer]


@pytest.mark.parametrize("asked", [embed_request(), sample_request(logit_bias={3: 1.0})])
def test_what_is_asked_arrives_as_what_it_is(asked: Asked) -> None:
    assert TypeAdapter(Asked).validate_json(TypeAdapter(Asked).dump_json(asked)) == asked


def test_workers_are_told_once_a_commit_has_left_them_something_to_do(
    client: TestClient, database: Database, owner: Organization
) -> None:
    headers = {"authorization": f"Bearer {WORKER_KEY}"}
    box = TypeAdapter(Registration).dump_python(registration(), mode="json")
    with database.write() as store:
        store.models.put_base(base_model())
        queued_job(store, owner, Task.VALIDATE)
    client.post("/register", json=box, headers=headers).raise_for_status()
    leased = client.post("/lease?task=validate", json=box, headers=headers).json()
    batch = ReportBatch(sequence=1, reports=(Validated(num_examples=10),))
    with connected(client) as socket:
        client.post(
            f"/jobs/{leased['job_id']}/attempts/{leased['attempt']}/reports",
            json=TypeAdapter(ReportBatch).dump_python(batch, mode="json"),
            headers=headers,
        ).raise_for_status()
        told = TypeAdapter(Asked).validate_json(socket.receive_text())
        assert told == JobsWait(jobs_wait=True)
        assert client.post("/lease?task=train", json=box, headers=headers).json() is not None
