"""Going back and forth between versions of the schema loses no rows that both know."""

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from tests.factories import NOW, job, organization
from tests.unit.store.test_database import differences
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import JobFilter, JobSearch, JobStatus, Task
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import PageRequest
from tunesmith.services.jobs import tell
from tunesmith.store import tables
from tunesmith.store.database import Database


def migrate(url: str, *revisions: str) -> None:
    """As `Database.upgrade` does it, with foreign keys in force."""
    config = Config()
    config.set_main_option("script_location", "tunesmith:store/migrations")
    config.set_main_option("path_separator", "os")
    engine = sa.create_engine(url)
    for revision in revisions:
        with engine.begin() as connection:
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql("PRAGMA foreign_keys=ON")
            config.attributes["connection"] = connection
            step = command.upgrade if revision == "head" else command.downgrade
            step(config, revision)
    engine.dispose()


REVISIONS = [
    revision.revision for revision in ScriptDirectory("tunesmith/store/migrations").walk_revisions()
][::-1]


@pytest.mark.parametrize("revision", REVISIONS)
def test_jobs_of_every_state_outlive_the_way_from_every_schema(
    database: Database, database_url: str, revision: str
) -> None:
    """What is done at the newest schema is undone down to an older one, and done again."""
    owner = organization()
    its = [
        job(owner, status, name="base", metadata={"state": status.value}) for status in JobStatus
    ]
    with database.write() as store:
        store.accounts.add_organization(owner)
        for each in its:
            store.jobs.add(each)
            tell(store, each, EventKind.STARTED, now=NOW)
            if not each.status.is_final:
                store.queue.push(each, Task.TRAIN, NOW)
    database.close()

    migrate(database_url, revision, "head")

    with database.read() as store:
        for each in its:
            assert store.jobs.get(each.id, owner.id).status is each.status
            assert store.events.has(each.id, EventKind.STARTED)
            pair = JobFilter(metadata=(("state", each.status.value),))
            # Since metadata came, in the first schema, no way back has lost it.
            assert store.jobs.list_page(owner.id, PageRequest(limit=2), pair).items[0].id == each.id
        assert store.jobs.search(owner.id, JobSearch(text="base")).count == len(its)
        assert store.jobs.count_by_status(owner.id) == dict.fromkeys(JobStatus, 1)
        assert sum(count for count, _ in store.vitals.waiting().values()) == 5
        assert store.vitals.is_migrated()
    assert differences(database_url) == []


def test_permissions_outlive_a_change_of_the_models_table(
    database: Database, database_url: str
) -> None:
    owner = organization()
    its = job(owner)
    model = TunedModel(
        id=its.id,
        short_id="abcd1234",
        organization_id=owner.id,
        organization_slug=owner.slug,
        job_id=its.id,
        base_model="base",
        suffix=None,
        step=None,
        artifacts=(),
        created_at=NOW,
    )
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.jobs.add(its)
        store.models.add_tuned(model)
    engine = sa.create_engine(database_url)
    permission = {"id": owner.id, "model_id": model.id, "project": "acme", "created_at": NOW}
    with engine.begin() as connection:
        connection.execute(sa.insert(tables.checkpoint_permissions), permission)
    database.close()

    migrate(database_url, "0005", "head")

    with engine.connect() as connection:
        rows = connection.execute(sa.select(tables.checkpoint_permissions)).mappings().all()
    engine.dispose()
    assert [(row["id"], row["model_id"]) for row in rows] == [(owner.id, model.id)]
    with database.read() as store:
        assert store.models.find_tuned_by_id(model.id) == model
