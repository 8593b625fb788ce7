import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from tests.factories import (
    NOW,
    Clock,
    base_model,
    context,
    file,
    organization,
    queued_job,
    registration,
)
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import JobsWait
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.jobs import Job, JobStatus, Task
from tunesmith.domain.uploads import NewUpload
from tunesmith.domain.usage import Account, Spent
from tunesmith.fleet import housekeeping
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.services import scheduling, uploads
from tunesmith.services.context import House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database

ALL = -60.0  # everything is so old


@pytest.fixture
def foundation(database: Database, house: House) -> Foundation:
    return Foundation(database=database, house=house)


@pytest.fixture
def leased(database: Database, clock: Clock) -> Job:
    """A job whose worker will say no more."""
    owner: Organization = organization()
    box = registration()
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.models.put_base(base_model())
        job = queued_job(store, owner)
        scheduling.register(store, box, clock())
        assert scheduling.lease(store, box, clock()) is not None
        scheduling.end_silent(store, clock())
        return store.jobs.get(job.id, owner.id)


def pass_over(database: Database, clock: Clock, seconds: int) -> int:
    """Time in which the server is there; gives how many leases ended."""
    num_ended = 0
    for _ in range(seconds):
        with database.write() as store:
            num_ended += scheduling.end_silent(store, clock.advance(1))
    return num_ended


def run_until(task: Coroutine[Any, Any, None], condition: Any) -> None:
    async def scene() -> None:
        running = asyncio.create_task(task)
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(scene())


def status_of(database: Database, job: Job) -> JobStatus:
    with database.read() as store:
        return store.jobs.get(job.id, job.organization_id).status


def test_a_worker_that_falls_silent_loses_its_job(
    foundation: Foundation, leased: Job, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "LEASE_CHECK_SECONDS", 0.0)
    assert pass_over(foundation.database, clock, 60) == 0
    clock.advance(1)
    run_until(
        housekeeping.end_silent_leases(foundation),
        lambda: status_of(foundation.database, leased) is JobStatus.QUEUED,
    )


def test_after_a_restart_workers_have_time_to_come_back(
    foundation: Foundation, leased: Job, clock: Clock
) -> None:
    clock.advance(3600)
    assert pass_over(foundation.database, clock, 61) == 0
    assert pass_over(foundation.database, clock, 1) == 1


@pytest.mark.parametrize("step", [3600, -3600, 86400, -86400])
def test_a_step_of_the_clock_ends_no_lease_and_keeps_none(
    foundation: Foundation, leased: Job, clock: Clock, step: int
) -> None:
    assert pass_over(foundation.database, clock, 30) == 0
    clock.advance(step)
    assert pass_over(foundation.database, clock, 61) == 0
    assert pass_over(foundation.database, clock, 1) == 1


def test_a_lease_from_while_the_clock_was_ahead_ends_in_time(
    foundation: Foundation, leased: Job, clock: Clock
) -> None:
    with foundation.database.write() as store:
        ahead = clock() + timedelta(hours=1, seconds=scheduling.LEASE_SECONDS)
        assert store.queue.renew(leased.id, 1, ahead) is not None
    assert pass_over(foundation.database, clock, 61) == 0
    assert pass_over(foundation.database, clock, 1) == 1


def test_a_step_of_the_clock_delays_no_job_that_waits_after_a_loss(
    foundation: Foundation, leased: Job, clock: Clock
) -> None:
    with foundation.database.write() as store:
        store.queue.put_back(leased.id, Task.TRAIN, clock(), wait=scheduling.MAX_WAIT)
        scheduling.end_silent(store, clock.advance(-86400))
        latest = clock() + scheduling.MAX_WAIT
        assert store.queue.list_candidates(latest, [Task.TRAIN]) != []


def test_a_round_that_fails_is_not_the_last_one(
    foundation: Foundation, leased: Job, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "LEASE_CHECK_SECONDS", 0.0)
    pass_over(foundation.database, clock, 60)
    clock.advance(1)
    requeue, rounds = scheduling.end_silent, iter([OSError("the disk is full")])

    def failing_once(*arguments: Any) -> int:
        for error in rounds:
            raise error
        return requeue(*arguments)

    monkeypatch.setattr(scheduling, "end_silent", failing_once)
    with structlog.testing.capture_logs() as logs:
        run_until(
            housekeeping.end_silent_leases(foundation),
            lambda: status_of(foundation.database, leased) is JobStatus.QUEUED,
        )
    assert logs[0]["event"] == "housekeeping failed"


def test_what_has_expired_goes_with_its_bytes(
    foundation: Foundation, database: Database, blobs: Blobs, clock: Clock
) -> None:
    owner, of_file, of_part = organization(), blobs.put(b"file"), blobs.put(b"part")
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.files.add(file(owner, of_file, expires_at=NOW + timedelta(hours=1)))
        ctx = context(store, foundation.house, owner)
        new = NewUpload(filename="a", purpose=FilePurpose.BATCH, size_bytes=4)
        uploads.add_part(ctx, uploads.create(ctx, new).id, of_part)
    clock.advance(3600)
    run_until(
        housekeeping.sweep_blobs(foundation, ALL),
        lambda: not (blobs.has(of_file.sha256) or blobs.has(of_part.sha256)),
    )


def test_bytes_that_nobody_needs_are_removed(
    foundation: Foundation, leased: Job, blobs: Blobs
) -> None:
    unused = blobs.put(b"unused")
    run_until(housekeeping.sweep_blobs(foundation, ALL), lambda: not blobs.has(unused.sha256))


def test_what_answers_took_is_kept_until_it_is_written_also_when_the_server_stops(
    foundation: Foundation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = organization()
    account = Account(
        organization_id=owner.id, day=1, key_id=owner.id, base_model="base", short_id=""
    )
    consumption = foundation.house.consumption
    consumption.note(account, Spent(requests=1))
    monkeypatch.setattr(housekeeping, "USAGE_SECONDS", 0.01)
    with structlog.testing.capture_logs() as logs:  # there is no such organization yet
        run_until(housekeeping.write_usage(foundation), lambda: logs)
    monkeypatch.setattr(housekeeping, "USAGE_SECONDS", 60)
    consumption.note(account, Spent(requests=1))
    with database.write() as store:
        store.accounts.add_organization(owner)
    rounds = iter((False, True))  # it is stopped in its first sleep
    run_until(housekeeping.write_usage(foundation), lambda: next(rounds))
    with database.read() as store:
        (row,) = store.answers_usage.list_since(owner.id, 0)
    assert row.spent.requests == 2


def test_jobs_that_came_by_another_server_are_told_of(
    foundation: Foundation, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(housekeeping, "QUEUE_SECONDS", 0.001)
    owner = organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.models.put_base(base_model())
        queued_job(store, owner)
    hub = Hub()
    box = hub.connect("box")
    run_until(housekeeping.watch_queue(foundation, hub), lambda: not box.outgoing.empty())
    assert box.outgoing.get_nowait() == JobsWait(jobs_wait=True)
