"""A PostgreSQL server for whoever asks for one."""

import os
from collections.abc import Iterator

import pytest

from tests import postgres
from tunesmith.store.database import Database

if "PYTEST_XDIST_WORKER" in os.environ:  # torch's threads would wait for those of the others
    os.environ.setdefault("OMP_NUM_THREADS", "1")

GIVEN_URL = os.environ.get("TUNESMITH_TEST_DATABASE_URL")


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The server that is given, or a private one; its tables are emptied by each test."""
    binaries = postgres.find_binaries()
    if GIVEN_URL:
        yield _upgraded(GIVEN_URL)
    elif binaries is None:
        pytest.skip("there is no PostgreSQL: install it, or set TUNESMITH_TEST_DATABASE_URL")
    else:
        with postgres.running(binaries) as url:
            yield _upgraded(url)


def _upgraded(url: str) -> str:
    database = Database(url)
    database.upgrade()
    database.close()
    return url
