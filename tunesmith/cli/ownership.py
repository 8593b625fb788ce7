"""One process owns a data folder at a time; the others find out where its server listens."""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK_FILE = "server.lock"
_ADDRESS_FILE = "server.json"


class DataFolderInUse(Exception):
    """`url` is where the owner listens, None while it is starting."""

    def __init__(self, folder: Path, url: str | None) -> None:
        super().__init__(f"{folder} is in use by another server")
        self.url = url


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder; the lock goes with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(folder, _read_address(folder)) from None
        address = folder / _ADDRESS_FILE
        address.unlink(missing_ok=True)  # of an owner that was killed
        try:
            yield
        finally:
            address.unlink(missing_ok=True)


def announce(folder: Path, url: str) -> None:
    """Let other processes of this machine find the server."""
    aside = folder / f"{_ADDRESS_FILE}.{os.getpid()}"
    aside.write_text(json.dumps({"url": url, "pid": os.getpid()}))
    aside.replace(folder / _ADDRESS_FILE)


def _read_address(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / _ADDRESS_FILE).read_text())["url"])
    except (OSError, ValueError, KeyError):
        return None
