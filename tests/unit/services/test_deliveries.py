from datetime import timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from tests.factories import NOW, Clock, context, organization, queued_job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import NotFound
from tunesmith.domain.jobs import Failure, JobStatus
from tunesmith.domain.webhooks import Delivery, JobEnded, WebhookEndpoint
from tunesmith.services import deliveries, jobs, scheduling, webhooks
from tunesmith.services.context import House
from tunesmith.store.database import Database, Store

ALL = frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED})


def add_endpoint(
    store: Store, house: House, owner: Organization, outcomes: frozenset[JobStatus] = ALL
) -> WebhookEndpoint:
    return webhooks.create(
        context(store, house, owner),
        url="https://example.com/",
        outcomes=outcomes,
        allow_private=False,
    )


def only_delivery(store: Store, endpoint: WebhookEndpoint) -> Delivery:
    (delivery,) = store.webhooks.list_deliveries(endpoint.id, 10)
    return delivery


@pytest.fixture
def endpoint(store: Store, house: House, owner: Organization) -> WebhookEndpoint:
    return add_endpoint(store, house, owner)


@pytest.fixture
def waiting(store: Store, endpoint: WebhookEndpoint) -> Delivery:
    event = JobEnded(id=uuid4(), job_id=uuid4(), outcome=JobStatus.FAILED, created_at=NOW)
    return deliveries.add(store, endpoint.id, event)


def test_every_endpoint_that_asked_is_told_under_one_event_id(
    store: Store, house: House, owner: Organization
) -> None:
    asking = [add_endpoint(store, house, owner) for _ in range(2)]
    other = add_endpoint(store, house, owner, frozenset({JobStatus.SUCCEEDED}))
    stranger = organization("other")
    store.accounts.add_organization(stranger)
    foreign = add_endpoint(store, house, stranger)
    job = queued_job(store, owner)
    jobs.stop(context(store, house, owner), job.id)
    told = [only_delivery(store, endpoint).event for endpoint in asking]
    assert told[0] == told[1]
    assert (told[0].job_id, told[0].outcome) == (job.id, JobStatus.STOPPED)
    for endpoint in (other, foreign):
        assert store.webhooks.list_deliveries(endpoint.id, 10) == ()


def test_a_failed_job_is_told(store: Store, owner: Organization, endpoint: WebhookEndpoint) -> None:
    failure = Failure(code="out_of_memory", message="Out of memory.")
    scheduling.end_as_failed(store, queued_job(store, owner), failure, NOW)
    assert only_delivery(store, endpoint).event.outcome is JobStatus.FAILED


def test_a_job_that_goes_on_is_not_told(
    store: Store, owner: Organization, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    queued_job(store, owner)
    box = registration()
    scheduling.register(store, box, clock())
    assert scheduling.lease(store, box, clock()) is not None
    assert scheduling.requeue_expired(store, clock.advance(61)) == 1
    assert store.webhooks.list_deliveries(endpoint.id, 10) == ()


def test_an_end_that_is_rolled_back_is_not_told(database: Database, house: House) -> None:
    owner = organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
        endpoint = add_endpoint(store, house, owner)
        job = queued_job(store, owner)

    def stop_and_fail() -> None:
        with database.write() as store:
            jobs.stop(context(store, house, owner), job.id)
            raise OSError

    with pytest.raises(OSError):  # noqa: PT011
        stop_and_fail()
    with database.read() as store:
        assert store.webhooks.list_deliveries(endpoint.id, 10) == ()
        assert store.jobs.get(job.id, owner.id).status is JobStatus.QUEUED


def test_what_is_missed_is_tried_again_later_each_time_for_three_days(
    store: Store, waiting: Delivery, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    waits: list[float] = []
    while True:
        ((_, claimed),) = deliveries.claim(store, clock(), 10)
        deliveries.missed(store, claimed, "answered 500", clock())
        settled = only_delivery(store, endpoint)
        assert (settled.event, settled.last_result) == (waiting.event, "answered 500")
        if settled.available_at is None:
            break
        assert settled.status == "waiting"
        waits.append((settled.available_at - clock()).total_seconds())
        assert deliveries.claim(store, settled.available_at - timedelta(seconds=1), 10) == ()
        clock.time = settled.available_at
    assert settled.status == "given up"
    for wait, expected in zip(waits, [5, 30, 120, 600, 3600, 21600], strict=False):
        assert 0.8 * expected <= wait <= 1.2 * expected
    assert all(later > earlier for earlier, later in pairwise(waits[:6]))
    assert 10 <= settled.attempts <= 13
    assert timedelta(days=2) < clock() - NOW <= deliveries.GIVEN_UP_AFTER
    assert deliveries.claim(store, clock.advance(10**7), 10) == ()


def test_waits_differ_so_that_not_all_come_back_at_once(
    store: Store, waiting: Delivery, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    seen = set()
    ((_, claimed),) = deliveries.claim(store, clock(), 10)
    for _ in range(5):
        deliveries.missed(store, claimed, "answered 500", clock())
        seen.add(only_delivery(store, endpoint).available_at)
    assert len(seen) > 1


def test_a_claim_is_one_senders_alone_until_it_ends(
    store: Store, waiting: Delivery, clock: Clock
) -> None:
    assert len(deliveries.claim(store, clock(), 10)) == 1
    assert deliveries.claim(store, clock.advance(deliveries.CLAIM_SECONDS - 1), 10) == ()
    ((_, again),) = deliveries.claim(store, clock.advance(1), 10)
    assert (again.event, again.attempts) == (waiting.event, 2)


def test_a_sender_that_comes_back_too_late_changes_nothing(
    store: Store, waiting: Delivery, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    ((_, first),) = deliveries.claim(store, clock(), 10)
    ((_, second),) = deliveries.claim(store, clock.advance(deliveries.CLAIM_SECONDS), 10)
    deliveries.delivered(store, second, "answered 200", clock())
    deliveries.missed(store, first, "no answer in time", clock())
    settled = only_delivery(store, endpoint)
    assert (settled.status, settled.last_result) == ("delivered", "answered 200")


def test_an_endpoint_is_sent_one_at_a_time(
    store: Store, house: House, owner: Organization, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    other = add_endpoint(store, house, owner)
    for _ in range(3):
        for to in (endpoint, other):
            event = JobEnded(id=uuid4(), job_id=uuid4(), outcome=JobStatus.FAILED, created_at=NOW)
            deliveries.add(store, to.id, event)
    claimed = deliveries.claim(store, clock(), 10)
    assert {to.id for to, _ in claimed} == {endpoint.id, other.id}
    assert deliveries.claim(store, clock(), 10) == ()
    deliveries.delivered(store, claimed[0][1], "answered 200", clock())
    ((to, _),) = deliveries.claim(store, clock(), 10)
    assert to.id == claimed[0][0].id


def test_old_deliveries_are_forgotten_and_waiting_ones_are_not(
    store: Store, waiting: Delivery, endpoint: WebhookEndpoint, clock: Clock
) -> None:
    later = clock.advance(31 * 24 * 3600)
    assert deliveries.prune(store, later) == 0
    ((_, claimed),) = deliveries.claim(store, later, 10)
    deliveries.delivered(store, claimed, "answered 200", later)
    assert deliveries.prune(store, NOW + timedelta(days=29)) == 0
    assert deliveries.prune(store, later) == 1
    assert store.webhooks.list_deliveries(endpoint.id, 10) == ()


def test_what_waits_for_a_deleted_endpoint_goes_with_it(
    store: Store, house: House, owner: Organization, waiting: Delivery, endpoint: WebhookEndpoint
) -> None:
    ((_, claimed),) = deliveries.claim(store, NOW, 10)
    webhooks.delete(context(store, house, owner), endpoint.id)
    deliveries.missed(store, claimed, "answered 500", NOW)
    assert not store.webhooks.has_due(NOW + timedelta(days=1))


def test_other_organizations_do_not_reach_a_webhook(
    store: Store, house: House, endpoint: WebhookEndpoint
) -> None:
    stranger = organization("stranger")
    store.accounts.add_organization(stranger)
    ctx = context(store, house, stranger)
    assert webhooks.list_(ctx) == ()
    for reach in (webhooks.delete, webhooks.test, webhooks.list_deliveries):
        with pytest.raises(NotFound):
            reach(ctx, endpoint.id)
    assert store.webhooks.list_deliveries(endpoint.id, 10) == ()
