"""A copy of the database as it was at one moment, taken while a server writes to it."""

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa

from tunesmith.domain.errors import Unavailable
from tunesmith.store.database import Database

NAMES = {"sqlite": "tunesmith.db", "postgresql": "tunesmith.dump"}


def take(url: str, folder: Path) -> Path:
    """Written aside and renamed: SQLite's own file, or an archive for `pg_restore`."""
    kind = sa.make_url(url).get_backend_name()
    target = folder / NAMES[kind]
    aside = target.with_suffix(".part")
    aside.unlink(missing_ok=True)
    if kind == "sqlite":
        _copy_sqlite(Path(sa.make_url(url).database or ""), aside)
    else:
        _dump_postgres(sa.make_url(url), aside)
    with aside.open("rb") as file:
        os.fsync(file.fileno())
    aside.replace(target)
    return target


def blobs_in_use(url: str) -> set[str]:
    database = Database(url)
    try:
        with database.read() as store:
            return store.files.blobs_in_use()
    finally:
        database.close()


def _copy_sqlite(source: Path, target: Path) -> None:
    # Read-only: the server is the one process that writes, or moves its log into the file.
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True, timeout=60)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)


def _dump_postgres(url: sa.URL, target: Path) -> None:
    plain = url.set(drivername="postgresql", password=None).render_as_string()
    command = ["pg_dump", "--format=custom", f"--file={target}", f"--dbname={plain}"]
    environment = {**os.environ, "PGPASSWORD": url.password or os.environ.get("PGPASSWORD", "")}
    try:
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    except FileNotFoundError:
        raise Unavailable("pg_dump is not installed here; it comes with PostgreSQL.") from None
    except subprocess.CalledProcessError as error:
        raise Unavailable(f"pg_dump: {error.stderr.strip()[:500]}") from None
