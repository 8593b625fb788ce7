from dataclasses import asdict
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import NOW, Clock, context, file, metrics, queued_job
from tunesmith.domain.accounts import Organization
from tunesmith.domain.events import Event, EventKind
from tunesmith.domain.integrations import Batch
from tunesmith.domain.jobs import Integration, Job, NewJob
from tunesmith.domain.paging import PageRequest
from tunesmith.services import integrations, jobs
from tunesmith.services.context import House
from tunesmith.store.database import Store

WANTED = Integration(kind="wandb", project="p", name=None, entity=None, tags=())


@pytest.fixture
def job(store: Store, owner: Organization) -> Job:
    made = queued_job(store, owner, integrations=(WANTED,))
    integrations.open_runs(store, made, NOW)
    return made


def add_steps(store: Store, job: Job, *steps: int) -> None:
    for step in steps:
        store.events.add(
            Event(
                id=uuid4(),
                job_id=job.id,
                created_at=NOW,
                kind=EventKind.STEP,
                step=step,
                data=asdict(metrics(step)),
            )
        )


def claim_one(store: Store, clock: Clock) -> Batch:
    (batch,) = integrations.claim(store, clock(), 10)
    return batch


def steps_of(batch: Batch) -> list[int]:
    return [metrics["step"] for metrics in batch.metrics]


def warnings(store: Store, job: Job) -> int:
    events = store.events.list_page(job.id, PageRequest(limit=100)).items
    return sum(event.kind is EventKind.NOTE for event in events)


def test_a_job_that_is_created_has_its_integrations_waiting(
    store: Store, house: House, owner: Organization, clock: Clock
) -> None:
    data = file(owner)
    store.files.add(data)
    new = NewJob(base_model="base", training_file_id=data.id, integrations=(WANTED, WANTED))
    job = jobs.create(context(store, house, owner), new)
    add_steps(store, job, 1)
    batches = integrations.claim(store, clock(), 10)
    assert [batch.run.position for batch in batches] == [0, 1]


def test_nothing_is_told_of_a_job_that_has_not_begun(
    store: Store, house: House, owner: Organization, job: Job, clock: Clock
) -> None:
    assert integrations.claim(store, clock(), 10) == []
    assert not store.integrations.has_due(clock())
    jobs.stop(context(store, house, owner), job.id)
    later = clock.advance(integrations.LOOK_AGAIN.total_seconds())
    assert store.integrations.has_due(later)
    assert integrations.claim(store, later, 10) == []
    assert not store.integrations.has_due(later + timedelta(days=1000))


def test_each_step_is_told_once(store: Store, job: Job, clock: Clock) -> None:
    add_steps(store, job, 1, 2)
    first = claim_one(store, clock)
    add_steps(store, job, 3)
    integrations.logged(store, first, clock())
    assert (steps_of(first), first.is_last) == ([1, 2], False)
    assert integrations.claim(store, clock(), 10) == []
    clock.advance(integrations.LOOK_AGAIN.total_seconds())
    assert steps_of(claim_one(store, clock)) == [3]


def test_many_steps_are_told_in_several_batches(
    store: Store,
    house: House,
    owner: Organization,
    job: Job,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(integrations, "MAX_STEPS", 2)
    add_steps(store, job, 1, 2, 3)
    jobs.stop(context(store, house, owner), job.id)
    first = claim_one(store, clock)
    integrations.logged(store, first, clock())
    second = claim_one(store, clock)
    integrations.logged(store, second, clock())
    assert [(steps_of(b), b.is_last) for b in (first, second)] == [([1, 2], False), ([3], True)]
    assert integrations.claim(store, clock.advance(10**6), 10) == []


def test_a_claim_is_one_senders_alone_until_it_ends(store: Store, job: Job, clock: Clock) -> None:
    add_steps(store, job, 1)
    first = claim_one(store, clock)
    assert integrations.claim(store, clock.advance(integrations.CLAIM_SECONDS - 1), 10) == []
    clock.advance(1)
    second = claim_one(store, clock)
    assert steps_of(second) == [1]
    integrations.logged(store, second, clock())
    integrations.missed(store, first, "too late", clock())
    assert warnings(store, job) == 0
    assert integrations.claim(store, clock.advance(3600), 10) == []


def test_what_is_missed_is_tried_again_for_a_day_with_one_warning(
    store: Store, job: Job, clock: Clock
) -> None:
    add_steps(store, job, 1)
    times = []
    while batches := integrations.claim(store, clock(), 10):
        times.append(clock())
        integrations.missed(store, batches[0], "no answer in time", clock())
        # Waits are at most an hour, with the jitter on top.
        for _ in range(75):
            if store.integrations.has_due(clock.advance(60)):
                break
    assert 20 <= len(times) <= 40
    assert times[1] - times[0] <= timedelta(minutes=1)
    assert timedelta(hours=22) < times[-1] - times[0] <= integrations.GIVEN_UP_AFTER
    assert warnings(store, job) == 1


def test_a_day_begins_anew_when_something_was_taken(store: Store, job: Job, clock: Clock) -> None:
    add_steps(store, job, 1)
    integrations.missed(store, claim_one(store, clock), "no answer in time", clock())
    clock.advance(3600)
    integrations.logged(store, claim_one(store, clock), clock())
    add_steps(store, job, 2)
    clock.advance(2 * 24 * 3600)
    integrations.missed(store, claim_one(store, clock), "no answer in time", clock())
    clock.advance(60)
    assert steps_of(claim_one(store, clock)) == [2]
    assert warnings(store, job) == 1
