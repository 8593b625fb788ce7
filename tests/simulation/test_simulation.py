"""The scheduler and the lease protocol hold their invariants, and the checker notices if not."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.simulation import two_servers
from tests.simulation.runner import Worlds
from tunesmith.store.queue import Queue

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


@pytest.mark.parametrize(
    "defect",
    [
        _any_attempt,
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
