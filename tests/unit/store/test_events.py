from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import NOW, job, organization
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.jobs import Job
from tunesmith.domain.paging import PageRequest
from tunesmith.store.database import Database

EVERYTHING = PageRequest(limit=100, ascending=True)


@pytest.fixture
def its(database: Database) -> Job:
    owner = organization()
    made = job(owner)
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.jobs.add(made)
    return made


def step(its: Job, number: int, loss: float = 1.0) -> Event:
    data = {"step": number, "train_loss": loss}
    return Event(
        id=uuid4(), job_id=its.id, created_at=NOW, kind=EventKind.STEP, step=number, data=data
    )


def note(its: Job) -> Event:
    return Event(
        id=uuid4(),
        job_id=its.id,
        created_at=NOW,
        kind=EventKind.NOTE,
        level=Level.WARNING,
        data={"message": "Look."},
    )


def event(its: Job, kind: EventKind, *, step: int | None = None, **data: str) -> Event:
    return Event(id=uuid4(), job_id=its.id, created_at=NOW, kind=kind, step=step, data=data)


def test_events_come_back_as_they_were(database: Database, its: Job) -> None:
    told = [note(its), step(its, 1), note(its)]
    with database.write() as store:
        for one in told:
            store.events.add(one)
        assert store.events.list_page(its.id, EVERYTHING).items == tuple(told)


def test_a_step_that_is_done_again_keeps_its_one_place(database: Database, its: Job) -> None:
    first, second = step(its, 1, loss=2.0), step(its, 2)
    again = step(its, 1, loss=3.0)
    with database.write() as store:
        for event in (first, second, again):
            store.events.add(event)
        page = store.events.list_page(its.id, EVERYTHING)
    assert page.items == (replace(first, data=again.data), second)


def test_steps_of_different_jobs_do_not_meet(database: Database, its: Job) -> None:
    with database.write() as store:
        other = job(store.accounts.get_organization(its.organization_id))
        store.jobs.add(other)
        store.events.add(step(its, 1, loss=2.0))
        store.events.add(step(other, 1, loss=3.0))
        assert store.events.metrics_of_step(its.id, 1) == {"step": 1, "train_loss": 2.0}


def test_metrics_are_in_the_order_of_their_steps(database: Database, its: Job) -> None:
    with database.write() as store:
        for event in (step(its, 2), note(its), step(its, 1)):
            store.events.add(event)
        assert [m["step"] for m in store.events.list_metrics(its.id)] == [1, 2]
        assert store.events.metrics_of_step(its.id, 3) is None


def test_the_log_of_a_job_never_stands_still(database: Database, its: Job) -> None:
    told = [event(its, EventKind.NOTE, message=str(number)) for number in range(5)]
    with database.write() as store:
        for one in told:
            store.events.add(one)
        log = store.events.list_log(its.id, [EventKind.NOTE], None, 3)
        assert [line.data["message"] for line in log] == ["2", "3", "4"]
        first = NOW + timedelta(milliseconds=1)
        later = store.events.list_log(its.id, [EventKind.NOTE], first, 2)
        assert [line.data["message"] for line in later] == ["2", "3"]
        assert store.events.list_log(its.id, [EventKind.STARTED], None, 3) == []
    assert [line.logged_ms for line in log] == sorted({line.logged_ms for line in log})


def test_a_job_begun_anew_has_no_past_but_its_log(database: Database, its: Job) -> None:
    with database.write() as store:
        store.events.add(event(its, EventKind.STARTED))
        store.events.add(event(its, EventKind.STEP, step=1))
        store.events.retire_steps(its.id)
        store.events.add(event(its, EventKind.RESTARTED))
        assert not store.events.has(its.id, EventKind.STARTED)
        assert store.events.list_metrics(its.id) == []
        assert store.events.add(event(its, EventKind.STEP, step=1))
        assert not store.events.add(event(its, EventKind.STEP, step=1))
        log = store.events.list_log(its.id, [EventKind.STEP], None, 9)
    assert len(log) == 2
