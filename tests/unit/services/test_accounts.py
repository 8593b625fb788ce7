from dataclasses import replace
from datetime import timedelta

import pytest

from tests.factories import NOW, base_model, context, key
from tunesmith.domain.accounts import Organization, Scope
from tunesmith.domain.errors import Conflict, Unauthenticated
from tunesmith.services import accounts, keys, models
from tunesmith.services.context import House
from tunesmith.store.database import Store

SECRET = "ts_" + "s" * 40


def test_a_new_key_opens_the_door(store: Store, house: House, owner: Organization) -> None:
    ctx = context(store, house, owner)
    made = keys.create(ctx, name="ci", scopes=frozenset({Scope.JOBS_READ}))
    assert accounts.authenticate(store, made.secret, NOW) == (owner, made.key)
    assert keys.list_(ctx) == (made.key,)


def test_a_revoked_key_opens_nothing(store: Store, house: House, owner: Organization) -> None:
    ctx = context(store, house, owner)
    made = keys.create(ctx, name="ci", scopes=frozenset({Scope.JOBS_READ}))
    keys.revoke(ctx, made.key.id)
    with pytest.raises(Unauthenticated):
        accounts.authenticate(store, made.secret, NOW)


def test_an_expired_key_opens_nothing(store: Store, owner: Organization) -> None:
    soon = NOW + timedelta(seconds=1)
    store.accounts.add_key(replace(key(owner, SECRET), expires_at=soon))
    assert accounts.authenticate(store, SECRET, NOW)[0] == owner
    with pytest.raises(Unauthenticated):
        accounts.authenticate(store, SECRET, soon)


def test_a_wrong_key_is_not_repeated_in_the_answer(store: Store) -> None:
    with pytest.raises(Unauthenticated) as refused:
        accounts.authenticate(store, SECRET, NOW)
    assert SECRET not in refused.value.message


def test_a_chosen_key_is_made_once(store: Store) -> None:
    assert not accounts.has_keys(store)
    for _ in range(2):
        accounts.ensure_key(
            store, name="admin", scopes=frozenset({Scope.ADMIN}), secret=SECRET, now=NOW
        )
    assert accounts.has_keys(store)
    organization, _ = accounts.authenticate(store, SECRET, NOW)
    assert len(store.accounts.list_keys(organization.id)) == 1


@pytest.mark.parametrize(
    "taken", [{"name": "other", "aliases": ("base",)}, {"name": "also"}], ids=["alias", "name"]
)
def test_a_name_of_another_base_model_cannot_be_taken(
    store: Store, house: House, owner: Organization, taken: dict[str, object]
) -> None:
    ctx = context(store, house, owner)
    models.add_base(ctx, base_model(aliases=("also",)))
    with pytest.raises(Conflict):
        models.add_base(ctx, base_model(**taken))
