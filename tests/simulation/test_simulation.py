"""The scheduler and the lease protocol hold their invariants, and the checker notices if not."""

from collections.abc import Iterator

import pytest

from tests.simulation import two_servers
from tests.simulation.checker import Violation
from tests.simulation.mutants import MUTANTS
from tests.simulation.runner import Worlds
from tunesmith.domain.errors import WrongState

NUM_SEEDS = 60  # `python -m tests.simulation` lives through thousands
ENOUGH_SEEDS = 200  # for a defect to show


@pytest.fixture(scope="module")
def worlds() -> Iterator[Worlds]:
    made = Worlds()
    yield made
    made.close()


def test_whatever_befalls_it_every_invariant_holds(worlds: Worlds) -> None:
    failure = worlds.first_failure(range(NUM_SEEDS))
    assert failure is None, str(failure)


@pytest.mark.parametrize("defect", list(MUTANTS))
def test_a_defect_is_found(worlds: Worlds, defect: str) -> None:
    with MUTANTS[defect]():
        failure = worlds.first_failure(range(ENOUGH_SEEDS))
    assert failure is not None
    assert isinstance(failure.error, Violation | WrongState), failure


def test_of_two_servers_one_that_was_halted_places_nothing_twice(postgres_url: str) -> None:
    tally = two_servers.run(postgres_url, rounds=15)
    assert (tally.rounds, tally.double_placements, tally.over_quota) == (15, 0, 0)
