"""An organization with a base model, and a worker."""

from collections.abc import Iterator

import pytest

from tests.factories import base_model, organization
from tunesmith.domain.accounts import Organization
from tunesmith.store.database import Database, Store


@pytest.fixture
def store(database: Database) -> Iterator[Store]:
    """One transaction for the whole test."""
    with database.write() as store:
        yield store


@pytest.fixture
def owner(store: Store) -> Organization:
    made = organization()
    store.accounts.add_organization(made)
    store.models.put_base(base_model())
    return made
