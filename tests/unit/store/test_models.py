from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from tests.factories import base_model, key, organization
from tunesmith.domain.catalog import WeightFile
from tunesmith.store.database import Database


def test_a_base_model_comes_back_as_it_was(database: Database) -> None:
    model = base_model(
        aliases=("gpt-4o-mini",), files=(WeightFile(name="model.safetensors", size_bytes=2**33),)
    )
    with database.write() as store:
        store.models.put_base(model)
        assert store.models.find_base("base") == model
        assert store.models.find_base("gpt-4o-mini") == model


def test_a_base_model_can_be_changed_under_its_name(database: Database) -> None:
    with database.write() as store:
        store.models.put_base(base_model(aliases=("old",)))
        store.models.put_base(base_model("second"))
        changed = base_model(aliases=("new",), context_tokens=99)
        store.models.put_base(changed)
        assert store.models.find_base("old") is None
        assert store.models.find_base("new") == changed
        assert [model.name for model in store.models.list_bases()] == ["base", "second"]


def test_an_alias_names_one_model(database: Database) -> None:
    with database.write() as store:
        store.models.put_base(base_model("first", aliases=("shared",)))
    with pytest.raises(IntegrityError), database.write() as store:
        store.models.put_base(base_model("second", aliases=("shared",)))


def test_a_base_model_goes_with_its_names(database: Database) -> None:
    with database.write() as store:
        store.models.put_base(base_model(aliases=("also",)))
        assert store.models.delete_base("base")
        assert not store.models.delete_base("base")
        assert store.models.find_base("also") is None


def test_a_key_is_found_by_its_digest_and_deleted_by_its_owner(database: Database) -> None:
    owner, other = organization(), organization("other")
    with database.write() as store:
        for one in (owner, other):
            store.accounts.add_organization(one)
        made = replace(key(owner), expires_at=owner.created_at)
        store.accounts.add_key(made)
        assert store.accounts.find_key(made.digest) == made
        assert not store.accounts.delete_key(made.id, other.id)
        assert store.accounts.delete_key(made.id, owner.id)
        assert store.accounts.find_key(made.digest) is None


@pytest.mark.parametrize("name", ["base\0", "\0"])
def test_a_name_that_no_database_can_hold_is_nobodys(database: Database, name: str) -> None:
    with database.write() as store:
        store.models.put_base(base_model())
        assert store.models.find_base(name) is None
