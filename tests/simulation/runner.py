"""Lives through one seed after another, until an invariant is broken."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import uuid4

from tests.simulation.world import World
from tunesmith.store.database import Database

NUM_EVENTS = 40


@dataclass(frozen=True)
class FailedSeed:
    seed: int
    error: Exception

    def __str__(self) -> str:
        kind = type(self.error).__name__
        return (
            f"Seed {self.seed}: {kind}: {self.error}. "
            f"Again: python -m tests.simulation --first {self.seed} --seeds 1"
        )


class Worlds:
    """One database in memory, as new for each seed: statements are compiled once."""

    def __init__(self) -> None:
        self._address = f"file:{uuid4()}?mode=memory&cache=shared"
        self._memory = sqlite3.connect(self._address, uri=True)
        self._database = Database(f"sqlite:///{self._address}&uri=true")
        self._database.upgrade()
        self._new = sqlite3.connect(":memory:")
        self._memory.backup(self._new)

    def close(self) -> None:
        self._database.close()
        for connection in (self._memory, self._new):
            connection.close()

    def first_failure(
        self, seeds: Iterable[int], num_events: int = NUM_EVENTS
    ) -> FailedSeed | None:
        for seed in seeds:
            self._new.backup(self._memory)
            try:
                World(seed, self._database).live(num_events)
            except Exception as error:
                return FailedSeed(seed, error)
        return None
