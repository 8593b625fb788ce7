"""Room on disk: how much there is, and a full disk as an error with a name."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.domain.errors import DiskFull

_MEGABYTE = 1_000_000
_FULL = (errno.ENOSPC, errno.EDQUOT)


def free_bytes(folder: Path) -> int:
    """On the disk of a folder, or of the nearest one above it that is there."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def shortage(where: str, folder: Path, needed_bytes: int) -> str:
    """A sentence."""
    needed, free = needed_bytes / _MEGABYTE, free_bytes(folder) / _MEGABYTE
    return f"The disk of {where} is full: needs {needed:,.0f} MB free, has {free:,.0f} MB."


@contextmanager
def full_disk_named() -> Iterator[None]:
    """Raises `DiskFull` in the place of the system's error."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFull(f"The disk is full ({error.strerror}).") from error
        raise
