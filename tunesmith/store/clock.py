"""One clock for all servers on one database."""

import time
from datetime import UTC, datetime, timedelta

from tunesmith.store.database import Database


class Clock:
    """The database's time where it has one, else this machine's.

    Between two times of asking, it goes on by the machine's monotonic clock: a step of a server's
    wall clock moves nothing.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._told: tuple[datetime, float] | None = None  # and when, by the monotonic clock
        self.set()

    def __call__(self) -> datetime:
        if self._told is None:
            return datetime.now(UTC)
        told, heard_at = self._told
        return told + timedelta(seconds=time.monotonic() - heard_at)

    def set(self) -> None:
        """Ask the database, which may take a moment; raises `Unavailable`."""
        asked_at = time.monotonic()
        told = self._database.time()
        if told is not None:
            self._told = told, (asked_at + time.monotonic()) / 2
