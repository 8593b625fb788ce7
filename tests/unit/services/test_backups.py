from pathlib import Path

import pytest

from tests.factories import file, organization
from tunesmith.domain.errors import Conflict, InvalidRequest
from tunesmith.services import backups
from tunesmith.store.blobs import Blobs, place_of
from tunesmith.store.database import Database


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    database = Database(url_of(folder))
    blobs = Blobs(folder / "blobs")
    database.upgrade()
    with database.write() as store:
        owner = organization()
        store.accounts.add_organization(owner)
        store.files.add(file(owner, blobs.put(b"needed")))
    blobs.put(b"not needed")
    database.close()
    return folder


def url_of(folder: Path) -> str:
    folder.mkdir(exist_ok=True)
    return f"sqlite:///{folder / 'tunesmith.db'}"


def test_a_restored_folder_has_what_was_named_and_no_more(data_dir: Path, tmp_path: Path) -> None:
    taken = backups.take(url_of(data_dir), data_dir, tmp_path / "backup")
    assert (taken.num_blobs, taken.num_new, taken.size_bytes) == (1, 1, len(b"needed"))
    backups.restore(tmp_path / "backup", tmp_path / "new")
    database = Database(url_of(tmp_path / "new"))
    with database.read() as store:
        (sha,) = store.files.blobs_in_use()
    database.close()
    assert Blobs(tmp_path / "new" / "blobs").path(sha).read_bytes() == b"needed"
    assert len(list((tmp_path / "new" / "blobs").glob("*/*"))) == 1


def test_a_second_backup_copies_only_what_is_new(data_dir: Path, tmp_path: Path) -> None:
    backups.take(url_of(data_dir), data_dir, tmp_path / "backup")
    assert backups.take(url_of(data_dir), data_dir, tmp_path / "backup").num_new == 0


@pytest.mark.parametrize("which", ["tunesmith.db", "blobs/*/*"])
def test_what_was_changed_is_not_restored(data_dir: Path, tmp_path: Path, which: str) -> None:
    backups.take(url_of(data_dir), data_dir, tmp_path / "backup")
    (changed,) = (tmp_path / "backup").glob(which)
    content = changed.read_bytes()
    changed.unlink()  # it is the server's own file, too
    changed.write_bytes(content[:-1] + b"?")
    with pytest.raises(InvalidRequest, match="not what was backed up"):
        backups.restore(tmp_path / "backup", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_folder_in_use_is_not_overwritten(data_dir: Path, tmp_path: Path) -> None:
    backups.take(url_of(data_dir), data_dir, tmp_path / "backup")
    with pytest.raises(InvalidRequest, match="not empty"):
        backups.restore(tmp_path / "backup", data_dir)


def test_lost_bytes_are_told_and_not_backed_up_as_if_all_were_well(
    data_dir: Path, tmp_path: Path
) -> None:
    database = Database(url_of(data_dir))
    with database.read() as store:
        (sha,) = store.files.blobs_in_use()
    database.close()
    place_of(data_dir / "blobs", sha).unlink()
    with pytest.raises(Conflict):
        backups.take(url_of(data_dir), data_dir, tmp_path / "backup")
