"""What answers took is summed up, by either database."""

from dataclasses import replace
from uuid import uuid4

import pytest

from tests.factories import organization
from tunesmith.domain.usage import Account, Spent
from tunesmith.store.database import Database

ONE = Spent(requests=1, prompt_tokens=10, completion_tokens=3)


@pytest.fixture
def account(database: Database) -> Account:
    owner = organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
    return Account(
        organization_id=owner.id, day=20_000, key_id=uuid4(), base_model="base", short_id=""
    )


def test_what_comes_later_is_added(database: Database, account: Account) -> None:
    tuned = replace(account, short_id="AbCd1234")
    for spent in ({account: ONE}, {account: ONE, tuned: ONE}):
        with database.write() as store:
            store.answers_usage.add(spent)
    with database.read() as store:
        rows = store.answers_usage.list_since(account.organization_id, account.day)
    assert {(row.model, row.spent) for row in rows} == {
        ("base", ONE + ONE),
        ("base:AbCd1234", ONE),
    }


def test_other_days_and_organizations_are_left_out(database: Database, account: Account) -> None:
    with database.write() as store:
        store.answers_usage.add({account: ONE, replace(account, day=account.day - 1): ONE})
    with database.read() as store:
        (row,) = store.answers_usage.list_since(account.organization_id, account.day)
        assert (row.day, row.key_id) == (account.day, account.key_id)
        assert store.answers_usage.list_since(uuid4(), account.day) == ()
