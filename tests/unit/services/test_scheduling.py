from dataclasses import replace
from datetime import timedelta

import pytest

from tests.factories import NOW, Clock, base_model, queued_job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    Assignment,
    AttemptHalted,
    AttemptLost,
    ReportBatch,
    Resident,
    Room,
)
from tunesmith.domain.errors import StaleAttempt
from tunesmith.domain.events import EventKind
from tunesmith.domain.fair_share import MAX_PASSED_OVER
from tunesmith.domain.jobs import Job, JobStatus, Task
from tunesmith.domain.paging import PageRequest
from tunesmith.services import leases, scheduling
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

BOX = registration("box")


def lease(store: Store, now=NOW) -> Assignment | None:
    scheduling.register(store, BOX, now)
    return scheduling.lease(store, BOX, now)


def again(store: Store, job: Job) -> Job:
    return store.jobs.get(job.id, job.organization_id)


def kinds(store: Store, job: Job) -> list[EventKind]:
    page = store.events.list_page(job.id, PageRequest(limit=100, ascending=True))
    return [event.kind for event in page.items]


def test_a_leased_job_runs(store: Store, owner: Organization) -> None:
    job = queued_job(store, owner)
    assignment = lease(store)
    assert assignment is not None
    assert (assignment.job_id, assignment.attempt, assignment.task) == (job.id, 1, Task.TRAIN)
    assert again(store, job).status is JobStatus.RUNNING


def test_a_job_is_validated_before_it_is_queued(store: Store, owner: Organization) -> None:
    job = queued_job(store, owner, Task.VALIDATE)
    assignment = lease(store)
    assert assignment is not None
    assert assignment.task is Task.VALIDATE
    assert again(store, job).status is JobStatus.VALIDATING


def test_with_nothing_to_do_there_is_no_assignment(store: Store) -> None:
    assert lease(store) is None


def test_a_worker_that_was_replaced_gets_nothing(store: Store, owner: Organization) -> None:
    queued_job(store, owner)
    older, newer = registration("box"), registration("box")
    for incarnation in (older, newer):
        scheduling.register(store, incarnation, NOW)
    with pytest.raises(StaleAttempt, match="box"):
        scheduling.lease(store, older, NOW)


def test_a_worker_that_nobody_registered_gets_nothing(store: Store) -> None:
    with pytest.raises(StaleAttempt):
        scheduling.lease(store, registration(), NOW)


def test_registering_ends_the_leases_of_earlier_incarnations(
    store: Store, owner: Organization
) -> None:
    job = queued_job(store, owner)
    assert lease(store) is not None
    scheduling.register(store, registration("other"), NOW)
    assert again(store, job).status is JobStatus.RUNNING
    scheduling.register(store, registration("box"), NOW)
    assert again(store, job).status is JobStatus.QUEUED
    assert kinds(store, job) == [EventKind.INTERRUPTED]


def test_registering_again_as_the_same_incarnation_ends_nothing(
    store: Store, owner: Organization
) -> None:
    job = queued_job(store, owner)
    assert lease(store) is not None
    scheduling.register(store, BOX, NOW)
    assert again(store, job).status is JobStatus.RUNNING


def test_a_silent_worker_loses_its_job(store: Store, owner: Organization, clock: Clock) -> None:
    job = queued_job(store, owner)
    lease(store)
    assert scheduling.requeue_expired(store, clock.advance(59)) == 0
    assert scheduling.requeue_expired(store, clock.advance(2)) == 1
    assert again(store, job).status is JobStatus.QUEUED
    assert kinds(store, job) == [EventKind.INTERRUPTED]


def lose(store: Store, blobs: Blobs, assignment: Assignment, clock: Clock) -> None:
    batch = ReportBatch(sequence=1, reports=(AttemptLost(reason="the host ended"),))
    leases.record(store, blobs, assignment.job_id, assignment.attempt, batch, clock())


def seconds_until_leased(store: Store, clock: Clock) -> tuple[int, Assignment | None]:
    for seconds in range(100):
        assignment = lease(store, clock() + timedelta(seconds=seconds))
        if assignment is not None:
            clock.advance(seconds)
            return seconds, assignment
    return 100, None


def test_losses_are_waited_out_longer_each_time_until_the_job_is_given_up(
    store: Store, blobs: Blobs, owner: Organization, clock: Clock
) -> None:
    job = queued_job(store, owner)
    waits = []
    while True:
        seconds, assignment = seconds_until_leased(store, clock)
        if assignment is None:
            break
        waits.append(seconds)
        lose(store, blobs, assignment, clock)
    assert waits == [0, 0, 4, 8, 16, 32]
    assert len(waits) == scheduling.MAX_LOSSES + 1
    given_up = again(store, job)
    assert given_up.status is JobStatus.FAILED
    assert given_up.failure is not None
    assert given_up.failure.code == "attempts_lost"
    assert "the host ended" in given_up.failure.message


def test_a_job_whose_base_model_is_gone_fails_with_a_reason(
    store: Store, owner: Organization
) -> None:
    job = queued_job(store, owner)
    store.models.delete_base("base")
    assert lease(store) is None
    failure = again(store, job).failure
    assert failure is not None
    assert failure.code == "no_base_model"


def test_a_job_that_nobody_can_do_does_not_block_the_others(
    store: Store, owner: Organization
) -> None:
    queued_job(store, owner, base_model="gone")
    good = queued_job(store, owner)
    assert lease(store) is None
    assignment = lease(store)
    assert assignment is not None
    assert assignment.job_id == good.id


def lease_with(store: Store, room: Room, now=NOW) -> str | None:
    """The base model of the job that a worker with this room is given."""
    scheduling.register(store, BOX, now)
    assignment = scheduling.lease(store, replace(BOX, room=room), now)
    return None if assignment is None else assignment.base_model.name


def full_of(name: str = "base", *, takes_more: bool = True, fingerprint: str | None = None) -> Room:
    """All hosts are taken by this base model."""
    resident = Resident(base_model=name, fingerprint=fingerprint, takes_more=takes_more)
    return Room(residents=(resident,), takes_others=False)


@pytest.fixture
def other(store: Store) -> str:
    store.models.put_base(base_model("other"))
    return "other"


def test_a_worker_without_a_place_is_given_jobs_of_its_resident_base_model_alone(
    store: Store, owner: Organization, other: str
) -> None:
    queued_job(store, owner, base_model=other)
    queued_job(store, owner)
    assert lease_with(store, full_of("base")) == "base"
    assert lease_with(store, full_of("base")) is None
    assert lease_with(store, Room()) == other


def test_a_worker_with_a_place_begins_with_what_it_has_at_hand(
    store: Store, owner: Organization, other: str
) -> None:
    queued_job(store, owner, base_model=other)
    queued_job(store, owner)
    with_place = replace(full_of("base"), takes_others=True)
    assert lease_with(store, with_place) == "base"
    assert lease_with(store, with_place) == other


def test_a_full_host_is_given_nothing_and_another_place_is_for_others(
    store: Store, owner: Organization, other: str
) -> None:
    queued_job(store, owner)
    full = full_of("base", takes_more=False)
    assert lease_with(store, full) is None
    assert lease_with(store, replace(full, takes_others=True)) is None
    queued_job(store, owner, base_model=other)
    assert lease_with(store, replace(full, takes_others=True)) == other


def test_a_host_with_weights_of_before_is_given_nothing(store: Store, owner: Organization) -> None:
    queued_job(store, owner)
    assert lease_with(store, full_of("base", fingerprint="old")) is None


def test_a_job_that_has_waited_long_for_its_base_model_is_passed_over_no_more(
    store: Store, owner: Organization, clock: Clock, other: str
) -> None:
    queued_job(store, owner, base_model=other)
    first, second = queued_job(store, owner), queued_job(store, owner)
    assert lease_with(store, full_of("base")) == "base"
    later = clock.advance(MAX_PASSED_OVER.total_seconds())
    assert lease_with(store, full_of("base"), later) is None
    assert lease_with(store, Room(), later) == other  # the runs have ended
    assert lease_with(store, full_of("base"), later) == "base"
    assert again(store, first).attempt == again(store, second).attempt == 1


def test_a_job_that_waits_for_its_full_host_holds_up_no_other(
    store: Store, owner: Organization, clock: Clock, other: str
) -> None:
    queued_job(store, owner, base_model=other)
    queued_job(store, owner)
    later = clock.advance(MAX_PASSED_OVER.total_seconds())
    both = (*full_of(other, takes_more=False).residents, *full_of("base").residents)
    assert lease_with(store, Room(residents=both, takes_others=False), later) == "base"


def test_data_is_checked_whatever_there_is_room_for(
    store: Store, owner: Organization, other: str
) -> None:
    queued_job(store, owner, Task.VALIDATE, base_model=other)
    assert lease_with(store, full_of("base", takes_more=False)) == other


def halt(store: Store, blobs: Blobs, assignment: Assignment, clock: Clock) -> None:
    batch = ReportBatch(sequence=1, reports=(AttemptHalted(reason="The disk is full."),))
    leases.record(store, blobs, assignment.job_id, assignment.attempt, batch, clock())


def test_a_job_that_needs_a_persons_help_is_paused_and_says_why(
    store: Store, blobs: Blobs, owner: Organization, clock: Clock
) -> None:
    job = queued_job(store, owner)
    assignment = lease(store)
    assert assignment is not None
    halt(store, blobs, assignment, clock)
    assert again(store, job).status is JobStatus.PAUSED
    page = store.events.list_page(job.id, PageRequest(limit=100, ascending=True))
    note, paused = page.items
    assert (note.kind, paused.kind) == (EventKind.NOTE, EventKind.PAUSED)
    assert note.data["message"].startswith("The job is paused. The disk is full. Resume it")
    assert lease(store) is None


def test_data_that_could_not_be_checked_for_want_of_room_is_checked_later(
    store: Store, blobs: Blobs, owner: Organization, clock: Clock
) -> None:
    job = queued_job(store, owner, Task.VALIDATE)
    assignment = lease(store)
    assert assignment is not None
    halt(store, blobs, assignment, clock)
    assert again(store, job).status is JobStatus.VALIDATING
    assert lease(store) is not None
