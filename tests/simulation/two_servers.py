"""Two servers on one PostgreSQL; one of them is halted for three leases amid placing a job.

python -m tests.simulation.two_servers --rounds 1000
"""

import argparse
import logging
import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from tests import postgres
from tests.factories import NOW, base_model, organization, queued_job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import LEASE_SECONDS, Assignment
from tunesmith.domain.errors import Unavailable
from tunesmith.domain.quotas import Quota
from tunesmith.services import scheduling
from tunesmith.store.database import Database, Store

PATIENCE_SECONDS = 0.3  # with the server that is halted
HALTS = ("before the lock", "under the lock", "before the commit", "after the commit")
LONG = timedelta(seconds=3 * LEASE_SECONDS + 1)


@dataclass
class Tally:
    rounds: int = 0
    double_placements: int = 0
    over_quota: int = 0
    late_commits_refused: int = 0


class Halted:
    """A server that places a job in a thread of its own, and stands still at one point."""

    def __init__(self, database: Database, where: str, now: datetime) -> None:
        self.placed: Assignment | None = None
        self.was_refused = False
        self._database, self._where, self._now = database, where, now
        self._box = registration("one")
        self._is_halted, self._may_go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._place)

    def halt(self) -> None:
        with self._database.write() as store:
            scheduling.register(store, self._box, self._now)
        self._thread.start()
        assert self._is_halted.wait(120)

    def go_on(self) -> None:
        self._may_go_on.set()
        self._thread.join()

    def _place(self) -> None:
        try:
            with self._database.write() as store:
                self._halting_at_the_lock(store)
                placed = scheduling.lease(store, self._box, self._now)
                self._point("before the commit")
            self.placed = placed
        except Unavailable:
            self.was_refused = True
        self._point("after the commit")
        self._is_halted.set()

    def _halting_at_the_lock(self, store: Store) -> None:
        lock = store.shares.lock

        def halting() -> float:
            self._point("before the lock")
            virtual_time = lock()
            self._point("under the lock")
            return virtual_time

        store.shares.lock = halting  # type: ignore[method-assign]

    def _point(self, name: str) -> None:
        if name == self._where:
            self._is_halted.set()
            assert self._may_go_on.wait(120)


def run(url: str, rounds: int, seed: int = 0) -> Tally:
    rng, tally = random.Random(seed), Tally()
    with _servers(url) as (one, two):
        owner = organization(f"acme-{seed}")
        with two.write() as store:
            store.accounts.add_organization(owner)
            store.shares.put_quota(owner.id, Quota(max_running_jobs=1))
            store.models.put_base(base_model())
        for _ in range(rounds):
            _round(one, two, owner, rng, tally)
    return tally


def _round(
    one: Database, two: Database, owner: Organization, rng: random.Random, tally: Tally
) -> None:
    """The other server looks for silent workers and places, while the first is halted."""
    with two.write() as store:
        jobs = [queued_job(store, owner) for _ in range(rng.randint(1, 2))]
        store.shares.heard(NOW)
    # Under the lock, others wait for the database's patience: seldom, to save time.
    where = HALTS[0] if rng.random() < 0.6 else rng.choice(HALTS)
    halted, other = Halted(one, where, NOW), registration("two")
    halted.halt()
    later, placed = NOW, []
    if rng.random() < 0.8:
        later += LONG
        with two.write() as store:
            scheduling.requeue_expired(store, later)
    with two.write() as store:
        scheduling.register(store, other, later)
        placed.append(scheduling.lease(store, other, later))
    halted.go_on()
    placed.append(halted.placed)
    with two.write() as store:
        # The invariant: a job has one holder at most, whoever believes to be one.
        believed = [its for its in placed if its is not None]
        held = [its for its in believed if store.queue.find_lease(its.job_id, its.attempt)]
        tally.rounds += 1
        tally.double_placements += len({its.job_id for its in held}) != len(held)
        tally.double_placements += len({(p.job_id, p.attempt) for p in believed}) != len(believed)
        tally.over_quota += len(held) > 1
        tally.late_commits_refused += halted.was_refused
        for job in jobs:
            ended = store.jobs.get_for_worker(job.id)
            store.queue.remove(job.id, later)
            store.jobs.replace(ended, ended.stopped(later))


@contextmanager
def _servers(url: str) -> Iterator[tuple[Database, Database]]:
    with ExitStack() as stack:
        one, two = Database(url, patience_seconds=PATIENCE_SECONDS), Database(url)
        stack.callback(one.close)
        stack.callback(two.close)
        yield one, two


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    # Each late commit is told with all that its function knew: more than the rounds cost.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    binaries = postgres.find_binaries()
    if binaries is None:
        raise SystemExit("There is no PostgreSQL.")
    with postgres.running(binaries) as url:
        database = Database(url)
        database.upgrade()
        database.close()
        print(run(url, arguments.rounds, arguments.seed))


if __name__ == "__main__":
    main()
