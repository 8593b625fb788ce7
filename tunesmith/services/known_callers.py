"""Who was let in a moment ago."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from tunesmith.domain.accounts import Credential, Key, Organization, digest_of

_KNOWN_SECONDS = 1.0
_MAX_KNOWN = 1000


class KnownCallers:
    """Who was let in a moment ago, so that clients that ask all the time are not looked up again.

    Forgotten with every write of this process, so that a key which is taken away here is worthless
    at once; where several servers share a database, a second after it was taken away at another.
    """

    def __init__(self) -> None:
        self._callers: dict[tuple[tuple[str, str | None], ...], _Caller] = {}

    def find(
        self, credentials: Sequence[Credential], now: datetime
    ) -> tuple[Organization, Key] | None:
        caller = self._callers.get(_digests(credentials))
        if caller is None or caller.until <= time.monotonic():
            return None
        organization, key = caller.caller
        has_expired = key.expires_at is not None and key.expires_at <= now
        return None if has_expired else (organization, key)

    def add(self, credentials: Sequence[Credential], caller: tuple[Organization, Key]) -> None:
        if len(self._callers) >= _MAX_KNOWN:
            self._callers.clear()
        until = time.monotonic() + _KNOWN_SECONDS
        self._callers[_digests(credentials)] = _Caller(caller, until)

    def forget(self) -> None:
        self._callers.clear()


@dataclass(frozen=True, slots=True)
class _Caller:
    caller: tuple[Organization, Key]
    until: float


def _digests(credentials: Sequence[Credential]) -> tuple[tuple[str, str | None], ...]:
    return tuple((digest_of(each.secret), each.email) for each in credentials)
