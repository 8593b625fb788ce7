import asyncio
from pathlib import Path

import pytest

from tests.factories import Clock
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.operations.health import Health
from tunesmith.services.context import House
from tunesmith.store.database import Database


@pytest.fixture
def foundation(database: Database, house: House) -> Foundation:
    return Foundation(database=database, house=house)


def checks(health: Health) -> dict[str, str]:
    return asyncio.run(health.checks())


def test_all_is_well(foundation: Foundation, tmp_path: Path) -> None:
    health = Health(foundation, Hub(), tmp_path, floor_bytes=1)
    assert set(checks(health)) == {"database", "migrations", "disk", "scheduler"}
    assert set(checks(health).values()) == {"ok"}


def test_too_little_room_is_said_in_bytes(foundation: Foundation, tmp_path: Path) -> None:
    health = Health(foundation, Hub(), tmp_path, floor_bytes=10**18)
    assert "1,000,000,000,000,000,000 are needed" in checks(health)["disk"]


def test_a_schema_of_another_version_is_not_served(
    foundation: Foundation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.store.vitals.Vitals.is_migrated", lambda _: False)
    health = Health(foundation, Hub(), tmp_path, floor_bytes=1)
    assert "another version" in checks(health)["migrations"]


def test_a_round_that_ended_is_named(foundation: Foundation, tmp_path: Path) -> None:
    async def found() -> dict[str, str]:
        task = asyncio.create_task(asyncio.sleep(0), name="ending silent leases")
        await task
        health = Health(foundation, Hub(), tmp_path, floor_bytes=1, tasks=[task])
        return await health.checks()

    assert "ending silent leases has ended" in asyncio.run(found())["scheduler"]


def test_a_check_writes_a_row(database: Database, clock: Clock) -> None:
    for _ in range(2):
        with database.write() as store:
            store.vitals.check_write(clock.advance(1))
            assert store.vitals.is_migrated()
