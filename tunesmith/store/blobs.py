"""File and checkpoint bytes in a folder, each named by its SHA-256.

A blob is written aside, fsynced and renamed, so that whatever carries the name is whole.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

from tunesmith.domain import disk
from tunesmith.domain.datasets import read_lines
from tunesmith.domain.disk import full_disk_named
from tunesmith.domain.errors import DiskFull, NotFound, TooLarge
from tunesmith.domain.files import Blob

CHUNK_BYTES = 1024 * 1024


class BlobWriter:
    """Takes bytes as they come; nothing is visible until `commit`.

    All of it raises `DiskFull` rather than leave less than `min_free_bytes`.
    """

    def __init__(
        self,
        folder: Path,
        place: Callable[[str], Path],
        max_bytes: int | None,
        min_free_bytes: int,
    ) -> None:
        require_free(folder, min_free_bytes)
        self._path = folder / uuid4().hex
        with full_disk_named():
            self._file: BinaryIO = self._path.open("xb")
        self._place = place
        self._max_bytes = max_bytes
        self._min_free_bytes = min_free_bytes
        self._digest = hashlib.sha256()
        self.size_bytes = 0

    def write(self, chunk: bytes) -> None:
        self.size_bytes += len(chunk)
        if self._max_bytes is not None and self.size_bytes > self._max_bytes:
            raise TooLarge(f"The file is larger than the limit of {self._max_bytes:,} bytes.")
        require_free(self._path.parent, self._min_free_bytes + len(chunk))
        self._digest.update(chunk)
        with full_disk_named():
            self._file.write(chunk)

    @property
    def sha256(self) -> str:
        """Of what was written so far."""
        return self._digest.hexdigest()

    def peek(self) -> Path:
        """Where what was written so far can be read, before it is decided to keep it."""
        with full_disk_named():
            self._file.flush()
        return self._path

    @full_disk_named()
    def commit(self) -> Blob:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sha256 = self.sha256
        target = self._place(sha256)
        target.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(target)  # also renews the time of bytes that were there already
        _fsync_folder(target.parent)
        return Blob(sha256=sha256, size_bytes=self.size_bytes)

    def abort(self) -> None:
        """Forget what was written; harmless after `commit`."""
        with suppress(OSError):  # what is still in its buffer has no room, and is wanted no more
            self._file.close()
        self._path.unlink(missing_ok=True)


class Blobs:
    """`min_free_bytes` are left on the disk, for the database and for what must go on."""

    def __init__(self, folder: Path, min_free_bytes: int = 0) -> None:
        self._folder = folder
        self.min_free_bytes = min_free_bytes
        self._incoming = folder / "incoming"
        self._incoming.mkdir(parents=True, exist_ok=True)

    @property
    def is_short_of_room(self) -> bool:
        return disk.free_bytes(self._folder) < self.min_free_bytes

    def require_room(self) -> None:
        """Raises `DiskFull` where nothing new should begin."""
        require_free(self._folder, self.min_free_bytes)

    @contextmanager
    def writer(
        self, max_bytes: int | None = None, min_free_bytes: int | None = None
    ) -> Iterator[BlobWriter]:
        """A writer that is aborted unless it was committed.

        `min_free_bytes` is in the place of the house's, for what may take of its reserve.
        """
        floor = self.min_free_bytes if min_free_bytes is None else min_free_bytes
        writer = BlobWriter(self._incoming, self._place, max_bytes, floor)
        try:
            yield writer
        finally:
            writer.abort()

    def put(self, content: bytes) -> Blob:
        """For what is small, and the end of something: it may take of the reserve."""
        with self.writer(min_free_bytes=0) as writer:
            writer.write(content)
            return writer.commit()

    def has(self, sha256: str) -> bool:
        return self._place(sha256).is_file()

    def keep(self, sha256: str) -> bool:
        """Whether the bytes are there; the time of those that are is renewed."""
        try:
            os.utime(self._place(sha256))
        except FileNotFoundError:
            return False
        return True

    def path(self, sha256: str) -> Path:
        """Where the bytes lie; raises `NotFound`."""
        path = self._place(sha256)
        if not path.is_file():
            raise NotFound("blob", sha256)
        return path

    def lines(self, sha256: str) -> Iterator[bytes]:
        """Of text; raises `NotFound`."""
        with self.path(sha256).open("rb") as file:
            yield from read_lines(file)

    def chunks(self, sha256: str) -> Iterator[bytes]:
        """Of a file of any size; raises `NotFound`."""
        with self.path(sha256).open("rb") as file:
            yield from iter(partial(file.read, CHUNK_BYTES), b"")

    def sweep(self, in_use: set[str], older_than_seconds: float) -> int:
        """Remove what nobody needs; returns how many. Young ones may be about to be needed."""
        removed = 0
        for path in self._unused(in_use, older_than_seconds):
            path.unlink(missing_ok=True)
            removed += 1
        return removed

    def count_unused(self, in_use: set[str], older_than_seconds: float) -> tuple[int, int]:
        """How many a sweep would remove, and of how many bytes."""
        sizes = [path.stat().st_size for path in self._unused(in_use, older_than_seconds)]
        return len(sizes), sum(sizes)

    def _unused(self, in_use: set[str], older_than_seconds: float) -> Iterator[Path]:
        horizon = time.time() - older_than_seconds
        for path in self._folder.glob("*/*"):
            if path.name not in in_use and _modified_at(path) < horizon:
                yield path

    def _place(self, sha256: str) -> Path:
        return place_of(self._folder, sha256)


def place_of(folder: Path, sha256: str) -> Path:
    """Where in a folder of blobs it lies, or would; raises `NotFound` for what is no SHA-256."""
    if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
        raise NotFound("blob", sha256[:80])
    return folder / sha256[:2] / sha256


def require_free(folder: Path, min_free_bytes: int) -> None:
    """Raises `DiskFull`."""
    if disk.free_bytes(folder) < min_free_bytes:
        raise DiskFull(disk.shortage("the server", folder, min_free_bytes))


def _modified_at(path: Path) -> float:
    """Now, for an upload that was committed or aborted in the meantime."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
