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
    """`url` is where the owner listens, None while it is starting; `certificate` what it shows."""

    def __init__(self, folder: Path, url: str | None, certificate: Path | None = None) -> None:
        super().__init__(f"{folder} is in use by another server")
        self.url = url
        self.certificate = certificate


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the folder; the lock goes with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK_FILE).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataFolderInUse(folder, *_read_address(folder)) from None
        address = folder / _ADDRESS_FILE
        address.unlink(missing_ok=True)  # of an owner that was killed
        try:
            yield
        finally:
            address.unlink(missing_ok=True)


def find_server(folder: Path) -> tuple[str, Path | None] | None:
    """Where the folder's server listens, and the certificate that it shows."""
    if not folder.is_dir():
        return None
    try:
        with owned(folder):
            return None
    except DataFolderInUse as owner:
        return None if owner.url is None else (owner.url, owner.certificate)


def announce(folder: Path, url: str, certificate: Path | None = None) -> None:
    """Let other processes of this machine find the server."""
    aside = folder / f"{_ADDRESS_FILE}.{os.getpid()}"
    shown = None if certificate is None else str(certificate.resolve())
    aside.write_text(json.dumps({"url": url, "certificate": shown, "pid": os.getpid()}))
    aside.replace(folder / _ADDRESS_FILE)


def _read_address(folder: Path) -> tuple[str | None, Path | None]:
    try:
        said = json.loads((folder / _ADDRESS_FILE).read_text())
        certificate = said.get("certificate")
        return str(said["url"]), None if certificate is None else Path(certificate)
    except (OSError, ValueError, KeyError):
        return None, None
