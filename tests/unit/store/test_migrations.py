"""Going back and forth between versions of the schema loses no rows that both know."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config

from tests.factories import NOW, job, organization
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import JobStatus, Task
from tunesmith.domain.models import TunedModel
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


def test_jobs_and_what_hangs_on_them_outlive_every_change(
    database: Database, database_url: str
) -> None:
    owner = organization()
    its = job(owner, name="base", status=JobStatus.RUNNING)
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.jobs.add(its)
        store.queue.push(its, Task.TRAIN, NOW)
        tell(store, its, EventKind.STARTED, now=NOW)
    database.close()

    migrate(database_url, "0001", "head")

    with database.read() as store:
        assert store.jobs.get(its.id, owner.id).status is JobStatus.RUNNING
        assert store.events.has(its.id, EventKind.STARTED)


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
