from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.factories import base_model
from tunesmith.store import tables
from tunesmith.store.database import Database

# What finds parts of names is the databases' own: SQLite's text search, PostgreSQL's trigrams.
_FOR_TEXTS = ("jobs_text", "ix_jobs_search_text_trigrams")
COMPARED: dict[str, Any] = {
    "compare_type": True,
    "include_object": lambda _object, name, *_: not (name or "").startswith(_FOR_TEXTS),
}


def differences(url: str) -> list[Any]:
    """Between a database and the tables that the code knows."""
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=COMPARED)
        found = compare_metadata(context, tables.metadata)
    engine.dispose()
    return list(found)


def test_the_migrations_make_exactly_the_tables_that_the_code_knows(
    database_url: str, database: Database
) -> None:
    assert differences(database_url) == []


def test_an_upgrade_of_what_is_up_to_date_changes_nothing(database: Database) -> None:
    with database.write() as store:
        store.models.put_base(base_model())
    database.upgrade()
    with database.read() as store:
        assert store.models.list_bases() == (base_model(),)


def test_an_error_undoes_the_whole_transaction(database: Database) -> None:
    def fail_halfway() -> None:
        with database.write() as store:
            store.models.put_base(base_model())
            raise RuntimeError("something went wrong")

    with pytest.raises(RuntimeError):
        fail_halfway()
    with database.read() as store:
        assert store.models.list_bases() == ()


def test_a_reader_sees_one_moment_while_others_write(database: Database) -> None:
    if database._engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL's default isolation shows each statement its own moment")
    with database.read() as reader:
        assert reader.models.list_bases() == ()
        with database.write() as writer:
            writer.models.put_base(base_model())
        assert reader.models.list_bases() == ()


def test_a_commit_on_sqlite_is_on_disk_before_it_is_answered(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'new.db'}")
    with database._engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
    database.close()
