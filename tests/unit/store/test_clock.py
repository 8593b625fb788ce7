from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tunesmith.store.clock import Clock
from tunesmith.store.database import Database


class Told:
    """A database whose clock is elsewhere."""

    def __init__(self, now: datetime | None) -> None:
        self.now = now

    def time(self) -> datetime | None:
        return self.now


@pytest.fixture
def monotonic(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds = [100.0]
    monkeypatch.setattr("tunesmith.store.clock.time.monotonic", lambda: seconds[0])
    return seconds


def test_it_goes_on_from_what_the_database_says(monotonic: list[float]) -> None:
    there = datetime(2031, 5, 1, tzinfo=UTC)
    database: Any = Told(there)
    clock = Clock(database)
    assert clock() == there
    monotonic[0] += 90
    assert clock() == there + timedelta(seconds=90)
    database.now = there + timedelta(seconds=91)
    clock.set()
    assert clock() == database.now


def test_without_a_clock_of_the_databases_it_is_the_machines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(Told(None))  # type: ignore[arg-type]
    assert abs(clock() - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.fixture
def postgres(postgres_url: str) -> Iterator[Database]:
    database = Database(postgres_url)
    yield database
    database.close()


def test_postgresql_tells_its_time(postgres: Database) -> None:
    told = postgres.time()
    assert told is not None
    assert told.tzinfo is UTC
    assert abs(Clock(postgres)() - told) < timedelta(minutes=1)
