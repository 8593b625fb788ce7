import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import datetime
from typing import Any
from uuid import uuid4

import pytest
import structlog.testing

from tests.factories import NOW, Clock, context, queued_job
from tests.receiver import Receiver, receiving, with_status
from tests.unit.outbox.conftest import add_endpoint
from tunesmith.dialects.openai import translate
from tunesmith.dialects.openai.webhooks import render
from tunesmith.domain.accounts import Organization
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import Delivery, JobEnded, Message, WebhookEndpoint
from tunesmith.http import Foundation
from tunesmith.outbox import webhooks
from tunesmith.outbox.sending import CheckedNetwork, Result, Sender
from tunesmith.services import deliveries, jobs
from tunesmith.services.context import House
from tunesmith.store.database import Database


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "LOOK_SECONDS", 0.01)


def delivering(foundation: Foundation, sender: Sender | None = None) -> Coroutine[Any, Any, None]:
    sender = sender or Sender(CheckedNetwork(allow_private=True))
    return webhooks.deliver(foundation, sender, render)


def run_until(condition: Callable[[], bool], *loops: Coroutine[Any, Any, None]) -> None:
    async def scene() -> None:
        running = [asyncio.create_task(loop) for loop in loops]
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.01)
        for task in running:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    asyncio.run(scene())


def add_delivery(database: Database, endpoint: WebhookEndpoint, now: datetime) -> Delivery:
    event = JobEnded(id=uuid4(), job_id=uuid4(), outcome=JobStatus.SUCCEEDED, created_at=now)
    with database.write() as store:
        return deliveries.add(store, endpoint.id, event)


def told(database: Database, endpoint: WebhookEndpoint) -> list[tuple[str, int, str | None]]:
    """Status, attempts and latest result of all deliveries, newest first."""
    with database.read() as store:
        found = store.webhooks.list_deliveries(endpoint.id, 100)
    return [(delivery.status, delivery.attempts, delivery.last_result) for delivery in found]


def test_a_stopped_job_is_told_as_the_vendor_tells_it(
    foundation: Foundation,
    house: House,
    owner: Organization,
    endpoint: WebhookEndpoint,
    receiver: Receiver,
) -> None:
    with foundation.database.write() as store:
        job = queued_job(store, owner)
        jobs.stop(context(store, house, owner), job.id)
    run_until(
        lambda: told(foundation.database, endpoint) == [("delivered", 1, "answered 200")],
        delivering(foundation),
    )
    (received,) = receiver.received
    assert json.loads(received.body) == {
        "id": received.headers["webhook-id"],
        "object": "event",
        "type": "fine_tuning.job.cancelled",
        "created_at": int(NOW.timestamp()),
        "data": {"id": translate.outer_id("ftjob-", job.id)},
    }


def test_a_retry_has_the_same_id_and_a_new_signature(
    foundation: Foundation, clock: Clock, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    receiver.answer = with_status(500)
    add_delivery(foundation.database, endpoint, clock())
    run_until(
        lambda: told(foundation.database, endpoint) == [("waiting", 1, "answered 500")],
        delivering(foundation),
    )
    receiver.answer = with_status(200)
    clock.advance(10)
    run_until(
        lambda: told(foundation.database, endpoint) == [("delivered", 2, "answered 200")],
        delivering(foundation),
    )
    first, second = (received.headers for received in receiver.received)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) == int(first["webhook-timestamp"]) + 10
    assert first["webhook-signature"] != second["webhook-signature"]


class DyingSender(Sender):
    """Sends, and is killed before it can say so."""

    async def send(self, endpoint: WebhookEndpoint, message: Message, now: datetime) -> Result:
        assert (await super().send(endpoint, message, now)).is_delivered
        await asyncio.Event().wait()
        raise AssertionError


def test_a_sender_killed_between_sending_and_noting_it_sends_again(
    foundation: Foundation, clock: Clock, endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    add_delivery(foundation.database, endpoint, clock())
    network = CheckedNetwork(allow_private=True)
    run_until(lambda: len(receiver.received) == 1, delivering(foundation, DyingSender(network)))
    assert told(foundation.database, endpoint) == [("waiting", 1, None)]
    clock.advance(deliveries.CLAIM_SECONDS)
    run_until(
        lambda: told(foundation.database, endpoint) == [("delivered", 2, "answered 200")],
        delivering(foundation),
    )
    ids = {received.headers["webhook-id"] for received in receiver.received}
    assert (len(receiver.received), len(ids)) == (2, 1)


def test_two_servers_on_one_database_send_each_event_once(
    foundation: Foundation, house: House, clock: Clock, owner: Organization, receiver: Receiver
) -> None:
    endpoints = [add_endpoint(foundation.database, owner, f"{receiver.url}/{n}") for n in range(4)]
    for endpoint in endpoints * 5:
        add_delivery(foundation.database, endpoint, clock())
    other = Foundation(database=foundation.database, house=house)
    run_until(
        lambda: all(
            told(foundation.database, endpoint) == [("delivered", 1, "answered 200")] * 5
            for endpoint in endpoints
        ),
        delivering(foundation),
        delivering(other),
    )
    ids = [received.headers["webhook-id"] for received in receiver.received]
    assert len(ids) == len(set(ids)) == 20


def test_a_slow_receiver_does_not_hold_up_the_others(
    foundation: Foundation,
    clock: Clock,
    owner: Organization,
    endpoint: WebhookEndpoint,
    receiver: Receiver,
) -> None:
    with receiving() as slow:
        slow.answer = lambda _: slow.is_closing.wait(10) and None
        slow_endpoint = add_endpoint(foundation.database, owner, slow.url)
        for _ in range(30):
            add_delivery(foundation.database, slow_endpoint, clock())
        for _ in range(3):
            add_delivery(foundation.database, endpoint, clock())
        run_until(
            lambda: told(foundation.database, endpoint) == [("delivered", 1, "answered 200")] * 3,
            delivering(foundation),
        )
        assert len(slow.received) == 1


def test_a_round_that_fails_is_not_the_last_one(
    foundation: Foundation,
    clock: Clock,
    endpoint: WebhookEndpoint,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_delivery(foundation.database, endpoint, clock())
    claim, troubles = deliveries.claim, iter([OSError("the disk is full")])

    def failing_once(*arguments: Any) -> Any:
        for error in troubles:
            raise error
        return claim(*arguments)

    monkeypatch.setattr(deliveries, "claim", failing_once)
    with structlog.testing.capture_logs() as logs:
        run_until(
            lambda: told(foundation.database, endpoint) == [("delivered", 1, "answered 200")],
            delivering(foundation),
        )
    assert logs[0]["event"] == "round failed"


def test_old_deliveries_are_forgotten(
    foundation: Foundation, clock: Clock, endpoint: WebhookEndpoint
) -> None:
    add_delivery(foundation.database, endpoint, clock())
    run_until(
        lambda: told(foundation.database, endpoint) == [("delivered", 1, "answered 200")],
        delivering(foundation),
    )
    clock.advance(31 * 24 * 3600)
    run_until(lambda: told(foundation.database, endpoint) == [], webhooks.prune(foundation))
