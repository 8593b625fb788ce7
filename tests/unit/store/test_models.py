from dataclasses import replace

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from tests.factories import base_model, key, organization
from tunesmith.domain.catalog import TASKS, WeightFile
from tunesmith.domain.errors import NotFound
from tunesmith.store import tables
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


def test_a_base_model_is_found_by_its_hub_id_where_that_names_nothing_else(
    database: Database,
) -> None:
    first = base_model("first", hub_id="acme/small")
    with database.write() as store:
        store.models.put_base(first)
        store.models.put_base(base_model("second", hub_id="acme/small"))
        assert store.models.find_base("acme/small") == first
        named = base_model("third", aliases=("acme/small",))
        store.models.put_base(named)
        assert store.models.find_base("acme/small") == named


def test_an_entry_of_an_earlier_version_still_loads(database: Database) -> None:
    entry = {
        "name": "old",
        "aliases": [],
        "folder": "/models/old",
        "source": "/models/old",
        "num_parameters": 1000,
        "context_tokens": 512,
        "learning_rate": 1e-4,
        "files": [],
        "created_at": "2026-01-01T12:00:00Z",
    }
    with database.write() as store:
        connection = store.models._connection
        connection.execute(sa.insert(tables.base_models).values(name="old", entry=entry))
        (model,) = store.models.list_bases()
        assert (model.hub_id, model.licence, model.tasks) == (None, None, TASKS)
        assert store.models.find_base("acme/small") is None


def test_a_base_model_goes_with_its_names(database: Database) -> None:
    with database.write() as store:
        store.models.put_base(base_model(aliases=("also",)))
        assert store.models.delete_base("base")
        assert not store.models.delete_base("base")
        assert store.models.find_base("also") is None


def test_a_key_is_found_by_all_of_its_digest_and_by_its_owner(database: Database) -> None:
    owner, other = organization(), organization("other")
    with database.write() as store:
        for one in (owner, other):
            store.accounts.add_organization(one)
        made = replace(key(owner), expires_at=owner.created_at)
        store.accounts.add_key(made)
        assert store.accounts.find_key(made.digest) == (made, owner)
        assert store.accounts.find_key(made.digest[:16] + "0" * 48) is None
        assert store.accounts.get_key(made.id, owner.id) == made
        with pytest.raises(NotFound):
            store.accounts.get_key(made.id, other.id)


@pytest.mark.parametrize("name", ["base\0", "\0"])
def test_a_name_that_no_database_can_hold_is_nobodys(database: Database, name: str) -> None:
    with database.write() as store:
        store.models.put_base(base_model())
        assert store.models.find_base(name) is None
