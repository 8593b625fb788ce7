"""Backups of a data folder while its server runs, and what is made of them.

The database first, then the bytes that it names: those are never changed, only added and, hours
after nothing names them any more, removed.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.domain.errors import Conflict, InvalidRequest
from tunesmith.store import snapshot
from tunesmith.store.blobs import place_of

FORMAT = 1
MANIFEST = "manifest.json"
_TRIES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """`num_new` blobs were not in the folder yet, from an earlier backup."""

    num_blobs: int
    num_new: int
    size_bytes: int


def take(url: str, data_dir: Path, folder: Path) -> Backup:
    """Into a folder that may hold an earlier backup; raises `Unavailable` or `Conflict`."""
    folder.mkdir(parents=True, exist_ok=True)
    for _ in range(_TRIES):
        database = snapshot.take(url, folder)
        is_file = database.suffix == ".db"
        named = snapshot.blobs_in_use(f"sqlite:///{database}" if is_file else url)
        missing = [sha for sha in named if not place_of(data_dir / "blobs", sha).is_file()]
        if not missing:
            break  # else they were removed since: what is there now does not name them
    else:
        raise Conflict(f"The bytes {missing[0]} are not there, and the database needs them.")
    num_new = sum(_keep(data_dir / "blobs", folder / "blobs", sha) for sha in sorted(named))
    _forget_others(folder / "blobs", named)
    sizes = {sha: place_of(folder / "blobs", sha).stat().st_size for sha in sorted(named)}
    manifest = {
        "format": FORMAT,
        "database": {"name": database.name, "sha256": _digest(database)},
        "blobs": sizes,
    }
    aside = folder / f"{MANIFEST}.part"
    with aside.open("w") as file:
        json.dump(manifest, file)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(folder / MANIFEST)
    return Backup(num_blobs=len(named), num_new=num_new, size_bytes=sum(sizes.values()))


def restore(folder: Path, data_dir: Path) -> Backup:
    """Into an empty data folder, after every byte was checked; raises `InvalidRequest`."""
    manifest = _read_manifest(folder)
    if data_dir.exists() and any(data_dir.iterdir()):
        raise InvalidRequest(f"{data_dir} is not empty; restore into a new folder.")
    _check(folder, manifest)
    aside = data_dir.with_name(f"{data_dir.name}.restoring")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "blobs").mkdir(parents=True)
    shutil.copy2(folder / manifest["database"]["name"], aside)
    for sha in manifest["blobs"]:
        target = place_of(aside / "blobs", sha)
        target.parent.mkdir(exist_ok=True)
        shutil.copy2(place_of(folder / "blobs", sha), target)
    if data_dir.exists():
        data_dir.rmdir()
    aside.rename(data_dir)
    sizes = manifest["blobs"].values()
    return Backup(num_blobs=len(sizes), num_new=len(sizes), size_bytes=sum(sizes))


def _keep(source: Path, target: Path, sha: str) -> bool:
    """Whether it is new here. A second name of the same bytes where the file system gives one."""
    kept, blob = place_of(target, sha), place_of(source, sha)
    if kept.is_file() and kept.stat().st_size == blob.stat().st_size:
        return False
    kept.parent.mkdir(parents=True, exist_ok=True)
    aside = kept.with_suffix(".part")
    aside.unlink(missing_ok=True)
    try:
        os.link(blob, aside)
    except OSError:
        shutil.copy2(blob, aside)
    aside.replace(kept)
    return True


def _forget_others(blobs: Path, named: set[str]) -> None:
    for path in blobs.glob("*/*"):
        if path.name not in named:
            path.unlink()


def _read_manifest(folder: Path) -> Any:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{folder} holds no backup: {error}.") from None
    if manifest.get("format") != FORMAT:
        raise InvalidRequest(f"{folder} was written by another version of Tunesmith.")
    return manifest


def _check(folder: Path, manifest: Any) -> None:
    database = manifest["database"]
    if database["name"] not in snapshot.NAMES.values():
        raise InvalidRequest("The backup names a database that it cannot have.")
    expected = {folder / database["name"]: database["sha256"]}
    expected.update({place_of(folder / "blobs", sha): sha for sha in manifest["blobs"]})
    for path, sha in expected.items():
        if not path.is_file() or _digest(path) != sha:
            raise InvalidRequest(f"{path} is missing, or is not what was backed up.")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
