"""A full disk breaks nothing: what was stored stays, what finds no room is refused."""

import shutil
import sqlite3
from pathlib import Path

import pytest

from tests.factories import organization
from tests.small_disk import small_disk
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import DiskFull
from tunesmith.store.blobs import Blobs, BlobWriter
from tunesmith.store.database import Database

PAGE = 4096
BUDGETS = range(PAGE, 51 * PAGE, PAGE)
CONTENT = b"0123456789abcdef" * 8 * 1024  # 32 pages


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def test_of_fifty_budgets_each_takes_bytes_whole_or_leaves_nothing(tmp_path: Path) -> None:
    num_stored = 0
    with small_disk(tmp_path / "disk", 64 * PAGE) as disk:
        for budget in BUDGETS:
            folder = disk / "blobs"
            blobs = Blobs(folder)
            ballast = disk / "ballast"
            ballast.write_bytes(bytes(max(0, shutil.disk_usage(disk).free - budget)))
            try:
                stored = [blobs.put(CONTENT).sha256]
            except DiskFull:
                stored = []
            assert names_in(folder) == stored
            assert all(blobs.path(name).read_bytes() == CONTENT for name in stored)
            num_stored += len(stored)
            shutil.rmtree(folder)
            ballast.unlink()
    assert 10 <= num_stored <= 30


def test_a_database_on_a_full_disk_keeps_what_it_has_said_yes_to(
    tmp_path: Path, migrated_file: Path
) -> None:
    with small_disk(tmp_path / "disk", 4 * 1024**2) as disk:
        path = disk / "tunesmith.db"
        shutil.copy(migrated_file, path)
        database = Database(f"sqlite:///{path}")
        with database.read():
            pass  # its journals are there
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - 60 * PAGE))
        stored: list[Organization] = []
        with pytest.raises(DiskFull, match="make room"):
            _add_without_end(database, stored)
        assert stored
        with database.read() as store:
            found = [store.accounts.get_organization(made.id) for made in stored]
        assert found == stored
        (disk / "ballast").unlink()
        with database.write() as store:  # as soon as there is room
            store.accounts.add_organization(organization("last"))
        database.close()
        with sqlite3.connect(path) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        connection.close()


def test_uploads_are_refused_well_before_the_disk_is_full(tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    blobs = Blobs(tmp_path / "blobs", min_free_bytes=2 * free)
    assert blobs.is_short_of_room
    with pytest.raises(DiskFull, match=r"needs [\d,]+ MB free, has [\d,]+ MB"), blobs.writer():
        pass
    with pytest.raises(DiskFull):
        blobs.require_room()
    with blobs.writer(min_free_bytes=0) as writer:  # what must go on
        writer.write(b"x")
        writer.commit()
    assert blobs.put(b"results").size_bytes == 7


def test_an_upload_that_would_take_of_the_reserve_ends_where_it_does(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 64 * PAGE) as disk:
        blobs = Blobs(disk / "blobs", min_free_bytes=32 * PAGE)
        with blobs.writer() as writer, pytest.raises(DiskFull):
            _write_without_end(writer)
        assert shutil.disk_usage(disk).free >= 32 * PAGE
        assert names_in(disk) == []


def test_bytes_that_are_kept_look_young_to_the_sweep(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    blob = blobs.put(b"weights")
    assert not blobs.keep("0" * 64)
    assert blobs.keep(blob.sha256)
    assert blobs.sweep(set(), older_than_seconds=60.0) == 0


def _add_without_end(database: Database, stored: list[Organization]) -> None:
    """`stored` are those that were answered."""
    while True:
        made = organization(f"slug-{len(stored)}")
        with database.write() as store:
            store.accounts.add_organization(made)
        stored.append(made)


def _write_without_end(writer: BlobWriter) -> None:
    while True:
        writer.write(bytes(PAGE))
        writer.peek()
