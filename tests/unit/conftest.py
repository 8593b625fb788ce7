"""A migrated database, a blob folder and a clock for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import postgres
from tests.factories import Clock
from tunesmith.services.context import House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "migrated.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    database.close()
    return path


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> str:
    if request.param == "postgres":
        url: str = request.getfixturevalue("postgres_url")
        return url
    path = tmp_path / "tunesmith.db"
    shutil.copy(migrated_file, path)
    return f"sqlite:///{path}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """Empty tables, on the newest schema."""
    if not database_url.startswith("sqlite"):
        postgres.empty(database_url)
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def house(blobs: Blobs, clock: Clock) -> House:
    sampler: Any = None  # nothing below the edge asks for tokens
    return House(blobs=blobs, sampler=sampler, now=clock)
