"""What Prometheus reads, and what it never learns."""

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families

import tunesmith.metrics
from tests.factories import NOW, metrics, organization, queued_job, registration
from tunesmith.domain.assignments import ReportBatch, StepReported
from tunesmith.domain.jobs import Task
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.operations import exposition
from tunesmith.services import leases, scheduling
from tunesmith.services.context import House
from tunesmith.store.database import Database
from tunesmith.wire.request_log import RequestIds

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(database: Database, house: House, folder: Path) -> Samples:
    async def ask() -> str:
        foundation = Foundation(database=database, house=house)
        app = exposition.build(foundation, Hub(), folder)
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            return (await http.get("/metrics")).text

    families = text_string_to_metric_families(asyncio.run(ask()))
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


@pytest.fixture
def _nothing_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests' attempts told last would be told for two minutes."""
    monkeypatch.setattr(tunesmith.metrics.RUNNING, "_steps", {})


@pytest.mark.usefixtures("_nothing_trains")
def test_jobs_the_queue_and_training_are_told_without_names(
    database: Database, house: House, tmp_path: Path
) -> None:
    owner = organization("secretive")
    before = read(database, house, tmp_path)
    with database.write() as store:
        store.accounts.add_organization(owner)
        trained = queued_job(store, owner)
        queued_job(store, owner, Task.VALIDATE)
        queued_job(store, owner)
        incarnation, expires_at = registration().incarnation, NOW + timedelta(minutes=1)
        lease = store.queue.lease(trained, "box", incarnation, NOW, expires_at)
        assert lease is not None
        job = store.jobs.get_for_worker(trained.id)
        store.jobs.replace(job, job.started(NOW))
        reports = (StepReported(metrics=metrics(1, tokens=50, seconds=0.5), remaining_seconds=1.0),)
        batch = ReportBatch(sequence=1, reports=reports, host_memory_bytes=12345)
        leases.record(store, house.blobs, trained.id, lease.attempt, batch, NOW)
    after = read(database, house, tmp_path)

    def told(name: str, **labels: str) -> float:
        return after[name, tuple(sorted(labels.items()))]

    assert told("tunesmith_jobs", state="running") == 1
    assert told("tunesmith_jobs", state="validating") == 1
    assert told("tunesmith_queue_depth", task="train") == 1
    assert told("tunesmith_queue_oldest_seconds") == 0
    assert told("tunesmith_running_loss") == 2.0
    assert told("tunesmith_tokens_per_second") == 100
    assert told("tunesmith_host_memory_bytes", worker="box") == 12345
    tokens = ("tunesmith_trained_tokens_total", ())
    assert after[tokens] - before[tokens] == 50
    words = str(after)
    assert "secretive" not in words
    assert trained.id.hex not in words.replace("-", "")
    with database.write() as store:
        scheduling.lose(store, lease, "gone", NOW, cause="silent")
    assert ("tunesmith_running_loss", ()) not in read(database, house, tmp_path)


def test_requests_are_counted_by_route_and_not_by_path(
    database: Database, house: House, tmp_path: Path
) -> None:
    app = FastAPI()

    @app.get("/things/{thing}")
    async def thing(thing: str) -> str:
        return thing

    app.add_middleware(RequestIds)

    async def ask() -> None:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            for path in ("/things/red-one", "/things/blue-one", "/nothing-here"):
                await http.get(path)

    before = read(database, house, tmp_path)
    asyncio.run(ask())
    samples = read(database, house, tmp_path)
    labels = {"http_request_method": "GET", "http_response_status_code": "200"}
    key = tuple(sorted({**labels, "http_route": "/things/{thing}"}.items()))
    count = ("http_server_request_duration_seconds_count", key)
    assert samples[count] - before.get(count, 0) == 2
    assert "one" not in str(samples)
    assert "nothing-here" not in str(samples)
