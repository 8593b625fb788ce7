from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest

from tests.factories import NOW, organization, queued_job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.jobs import Task
from tunesmith.store.database import Database, Store
from tunesmith.store.queue import Lease

MINUTE = timedelta(minutes=1)
BOX = registration("box")


@pytest.fixture
def owner(database: Database) -> Organization:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
    return made


def lease(store: Store, now=NOW, worker=BOX, tasks=tuple(Task)) -> Lease | None:
    """The oldest entry, as the scheduler gives it."""
    store.shares.lock()
    candidates = store.queue.list_candidates(now, tasks)
    if not candidates:
        return None
    job_id = store.queue.job_at(min(candidate.seq for candidate in candidates))
    assert job_id is not None
    job = store.jobs.get_for_worker(job_id)
    return store.queue.lease(job, worker.name, worker.incarnation, now, now + MINUTE)


def test_the_oldest_is_leased_first(database: Database, owner: Organization) -> None:
    with database.write() as store:
        jobs = [queued_job(store, owner) for _ in range(3)]
        leased = [lease(store) for _ in range(4)]
    assert [one and one.job_id for one in leased] == [*(job.id for job in jobs), None]


def test_each_lease_raises_the_jobs_attempt(database: Database, owner: Organization) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        attempts = []
        for _ in range(3):
            leased = lease(store)
            assert leased is not None
            attempts.append((leased.attempt, store.jobs.get(job.id, owner.id).attempt))
            store.queue.put_back(job.id, Task.TRAIN, NOW)
    assert attempts == [(1, 1), (2, 2), (3, 3)]


def test_a_lease_can_be_renewed_by_its_attempt_alone(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        assert store.queue.renew(job.id, 1, NOW + 2 * MINUTE) is not None
        assert store.queue.renew(job.id, 0, NOW + 2 * MINUTE) is None
        assert store.queue.renew(job.id, 2, NOW + 2 * MINUTE) is None


def test_a_renewed_lease_lasts_longer(database: Database, owner: Organization) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        store.queue.renew(job.id, 1, NOW + 3 * MINUTE)
        assert store.queue.list_expired(NOW + 2 * MINUTE) == []
        (expired,) = store.queue.list_expired(NOW + 4 * MINUTE)
    assert expired.job_id == job.id


def test_a_lease_that_was_put_back_cannot_be_renewed(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        store.queue.put_back(job.id, Task.TRAIN, NOW)
        assert store.queue.renew(job.id, 1, NOW + MINUTE) is None


def test_what_is_put_back_keeps_its_place(database: Database, owner: Organization) -> None:
    with database.write() as store:
        first, _ = queued_job(store, owner), queued_job(store, owner)
        lease(store)
        store.queue.put_back(first.id, Task.TRAIN, NOW)
        leased = lease(store)
    assert leased is not None
    assert leased.job_id == first.id


def test_what_is_put_back_for_later_waits_until_then(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        store.queue.put_back(job.id, Task.TRAIN, NOW, wait=MINUTE, losses=2)
        assert lease(store) is None
        leased = lease(store, NOW + MINUTE)
    assert leased is not None
    assert (leased.losses, leased.batches_stored) == (2, 0)


def test_a_new_lease_counts_its_batches_from_the_start(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        store.queue.batch_stored(job.id, 4)
        store.queue.put_back(job.id, Task.TRAIN, NOW)
        leased = lease(store)
    assert leased is not None
    assert leased.batches_stored == 0


def test_what_is_removed_is_leased_by_nobody(database: Database, owner: Organization) -> None:
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store)
        store.queue.remove(job.id, NOW)
        assert lease(store) is None
        assert store.queue.renew(job.id, 1, NOW + MINUTE) is None


def test_a_worker_is_current_in_its_newest_incarnation(database: Database) -> None:
    older, newer = registration("box"), registration("box")
    with database.write() as store:
        for incarnation in (older, newer):
            store.queue.register(incarnation, {}, NOW)
        assert not store.queue.is_current("box", older.incarnation)
        assert store.queue.is_current("box", newer.incarnation)
        assert not store.queue.is_current("other", newer.incarnation)


def test_leases_of_earlier_incarnations_can_be_told(
    database: Database, owner: Organization
) -> None:
    older, newer = registration("box"), registration("box")
    with database.write() as store:
        job = queued_job(store, owner)
        lease(store, worker=older)
        assert store.queue.list_held_by_others("box", older.incarnation) == []
        (held,) = store.queue.list_held_by_others("box", newer.incarnation)
        assert held.job_id == job.id
        assert store.queue.list_held_by_others("other", newer.incarnation) == []


def test_all_leases_can_begin_anew(database: Database, owner: Organization) -> None:
    with database.write() as store:
        queued_job(store, owner)
        queued_job(store, owner)
        lease(store)
        store.queue.begin_anew(NOW, NOW + 9 * MINUTE, latest=NOW)
        assert store.queue.list_expired(NOW + 8 * MINUTE) == []
        assert len(store.queue.list_expired(NOW + 10 * MINUTE)) == 1  # the other is not leased


def test_no_job_goes_to_two_of_many_workers(database: Database, owner: Organization) -> None:
    num_workers, num_jobs = 8, 20
    with database.write() as store:
        jobs = {queued_job(store, owner).id for _ in range(num_jobs)}
    start = Barrier(num_workers)

    def work(number: int) -> list[Lease]:
        worker = registration(f"worker-{number}")
        leased = []
        start.wait()
        while True:
            with database.write() as store:
                one = lease(store, worker=worker)
            if one is None:
                return leased
            leased.append(one)

    with ThreadPoolExecutor(num_workers) as pool:
        everything = [one for mine in pool.map(work, range(num_workers)) for one in mine]
    assert len(everything) == num_jobs
    assert {one.job_id for one in everything} == jobs


def test_a_worker_is_given_only_the_tasks_that_it_asks_for(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        queued_job(store, owner, Task.TRAIN)
        new = queued_job(store, owner, Task.VALIDATE)
        leased = lease(store, tasks=(Task.VALIDATE,))
        again = lease(store, tasks=(Task.VALIDATE,))
    assert leased is not None
    assert (leased.job_id, again) == (new.id, None)
