from datetime import timedelta
from uuid import UUID

import pytest

from tests.factories import NOW, organization
from tunesmith.store.database import Database


@pytest.fixture
def owner(database: Database) -> UUID:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
    return made.id


def test_a_key_is_claimed_once_and_then_gives_its_answer(database: Database, owner: UUID) -> None:
    with database.write() as store:
        assert store.idempotency_keys.claim(owner, "k", "digest", NOW)
        store.idempotency_keys.answer(owner, "k", {"id": 1})
    with database.write() as store:
        assert not store.idempotency_keys.claim(owner, "k", "digest", NOW)
        assert store.idempotency_keys.get(owner, "k") == ("digest", {"id": 1})
        assert store.idempotency_keys.claim(owner, "other", "digest", NOW)


def test_what_is_rolled_back_has_claimed_nothing(database: Database, owner: UUID) -> None:
    def fail() -> None:
        with database.write() as store:
            store.idempotency_keys.claim(owner, "k", "digest", NOW)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.write() as store:
        assert store.idempotency_keys.claim(owner, "k", "digest", NOW)


def test_a_key_of_yesterday_may_be_claimed_again(database: Database, owner: UUID) -> None:
    with database.write() as store:
        assert store.idempotency_keys.claim(owner, "k", "digest", NOW)
        assert store.idempotency_keys.delete_old(NOW + timedelta(days=1)) == 1
        assert store.idempotency_keys.claim(owner, "k", "digest", NOW)
