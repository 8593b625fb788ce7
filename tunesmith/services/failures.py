"""Bounds guessing: an address that sends bad keys is, for a while, not even looked up.

The counts are in this process's memory. For one thread, the event loop's.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

from tunesmith.domain.accounts import Credential, digest_of
from tunesmith.domain.errors import RateLimited

SECONDS = 60.0
MAX_ADDRESSES = 10_000
MAX_GOOD_KEYS = 10_000


class FailureLimit:
    """Keys that were good lately are let in even so: others may share their address."""

    def __init__(
        self, per_minute: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._failures: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, and when
        self._good: OrderedDict[str, None] = OrderedDict()

    def admit(self, ip: str | None, credentials: Sequence[Credential]) -> None:
        """Raises `RateLimited` for an address that has failed too often in the last minute."""
        if self._per_minute is None or ip is None:
            return
        too_many = self._level(ip) + 1 - self._per_minute
        if too_many <= 0 or any(digest_of(c.secret) in self._good for c in credentials):
            return
        wait = too_many * SECONDS / self._per_minute
        raise RateLimited("failed attempts", self._per_minute, retry_after_seconds=wait)

    def count(self, ip: str | None) -> None:
        if self._per_minute is None or ip is None:
            return
        self._failures[ip] = (self._level(ip) + 1, self._clock())
        _keep_newest(self._failures, ip, MAX_ADDRESSES)

    def forgive(self, credentials: Sequence[Credential]) -> None:
        """One of them was good."""
        if self._per_minute is not None and len(credentials) == 1:
            digest = digest_of(credentials[0].secret)
            self._good[digest] = None
            _keep_newest(self._good, digest, MAX_GOOD_KEYS)

    def _level(self, ip: str) -> float:
        """Failures that are not made up for yet; they are, evenly, in a minute."""
        level, at = self._failures.get(ip, (0.0, 0.0))
        passed = (self._clock() - at) * (self._per_minute or 0) / SECONDS
        return max(0.0, level - passed)


def _keep_newest(entries: OrderedDict[str, Any], key: str, most: int) -> None:
    entries.move_to_end(key)
    while len(entries) > most:
        entries.popitem(last=False)
