"""The scheduler and the lease protocol hold their invariants, and the checker notices if not."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from tests.simulation import two_servers
from tests.simulation.runner import Worlds
from tunesmith.domain.fair_share import Candidate, Standing
from tunesmith.services import checkpoints, leases, pausing, scheduling
from tunesmith.store.jobs import Jobs
from tunesmith.store.queue import Queue
from tunesmith.store.shares import Shares

NUM_SEEDS = 25  # `python -m tests.simulation` lives through thousands
ENOUGH_SEEDS = 40  # for a defect to show


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    made.close()


def test_whatever_befalls_it_every_invariant_holds(worlds: Worlds) -> None:
    failure = worlds.first_failure(range(NUM_SEEDS))
    assert failure is None, str(failure)


def _any_attempt(change: pytest.MonkeyPatch) -> None:
    """Reports are taken from whoever sends them, as long as somebody holds the job."""
    held: Any = Queue._held

    def of_any(self: Queue, job_id: Any, attempt: int) -> Any:
        row = self._connection.exec_driver_sql(
            "SELECT attempt FROM queue WHERE job_id = ?", (job_id.hex,)
        ).scalar()
        return held(self, job_id, attempt if row is None else row)

    change.setattr(Queue, "_held", of_any)


def _batches_twice(change: pytest.MonkeyPatch) -> None:
    change.setattr(Queue, "batch_stored", lambda *_: None)


def _no_quota(change: pytest.MonkeyPatch) -> None:
    change.setattr(Standing, "held_by", lambda *_: None)


def _no_queue_quota(change: pytest.MonkeyPatch) -> None:
    change.setattr(Shares, "count_queued", lambda *_: 0)


def _no_tokens_counted(change: pytest.MonkeyPatch) -> None:
    change.setattr(Shares, "standings", _forgetting_tokens(Shares.standings))


def _forgetting_tokens(standings: Callable[..., Any]) -> Callable[..., Any]:
    def forgetting(*arguments: Any) -> Any:
        known = standings(*arguments)
        return {owner: replace(one, tokens_today=0) for owner, one in known.items()}

    return forgetting


def _no_priority(change: pytest.MonkeyPatch) -> None:
    list_candidates = Queue.list_candidates

    def alike(self: Queue, now: datetime, tasks: Any) -> list[Candidate]:
        return [replace(c, priority=3) for c in list_candidates(self, now, tasks)]

    change.setattr(Queue, "list_candidates", alike)


def _no_backoff_kept(change: pytest.MonkeyPatch) -> None:
    list_candidates = Queue.list_candidates
    change.setattr(
        Queue,
        "list_candidates",
        lambda self, now, tasks: list_candidates(self, now + scheduling.MAX_WAIT, tasks),
    )


def _leases_end_early(change: pytest.MonkeyPatch) -> None:
    change.setattr(scheduling, "LEASE_SECONDS", 20.0)
    change.setattr(leases, "LEASE_SECONDS", 20.0)


def _no_grace(change: pytest.MonkeyPatch) -> None:
    change.setattr(scheduling, "end_silent", scheduling.requeue_expired)


def _silence_unnoticed(change: pytest.MonkeyPatch) -> None:
    change.setattr(Queue, "list_expired", lambda *_: [])


def _pause_leaves_the_entry(change: pytest.MonkeyPatch) -> None:
    def come_about(store: Any, job: Any, now: datetime) -> Any:
        store.jobs.replace(job, job.paused())

    change.setattr(pausing, "come_about", come_about)


def _restart_forgets_the_attempt(change: pytest.MonkeyPatch) -> None:
    write = Jobs.replace

    def resetting(self: Jobs, before: Any, after: Any) -> None:
        is_restart = before.status.is_final and not after.status.is_final
        write(self, before, replace(after, attempt=0) if is_restart else after)

    change.setattr(Jobs, "replace", resetting)


def _old_checkpoint(change: pytest.MonkeyPatch) -> None:
    change.setattr(checkpoints, "_retire", lambda store, job: store.jobs.delete_checkpoints(job.id))


@pytest.mark.parametrize(
    "defect",
    [
        _any_attempt,
        _batches_twice,
        _no_quota,
        _no_queue_quota,
        _no_tokens_counted,
        _no_priority,
        _no_backoff_kept,
        _leases_end_early,
        _no_grace,
        _silence_unnoticed,
        _pause_leaves_the_entry,
        _restart_forgets_the_attempt,
        _old_checkpoint,
    ],
    ids=lambda defect: defect.__name__.strip("_"),
)
def test_a_defect_is_found(
    worlds: Worlds, defect: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    defect(monkeypatch)
    failure = worlds.first_failure(range(ENOUGH_SEEDS))
    assert failure is not None
    print(failure)


def test_of_two_servers_one_that_was_halted_places_nothing_twice(postgres_url: str) -> None:
    tally = two_servers.run(postgres_url, rounds=15)
    assert (tally.rounds, tally.double_placements, tally.over_quota) == (15, 0, 0)
