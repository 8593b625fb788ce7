"""Doing once what is asked for twice: requests that carry a key of the caller's own.

The key, what was done and what was answered commit together. A request that fails leaves nothing
behind, and its key may be used again.
"""

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from tunesmith.domain.errors import InvalidRequest, KeyReused
from tunesmith.services.context import Context
from tunesmith.store.database import Store

TIME_TO_REMEMBER = timedelta(days=1)
_KEY = re.compile(r"[!-~]{1,255}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`answer` is JSON; `is_replayed` where it had been given before."""

    answer: Any
    is_replayed: bool


def once(ctx: Context, key: str, asked: bytes, act: Callable[[], Any]) -> Outcome:
    """The answer of `act`, or the one that was given to the same request under this key.

    Raises `KeyReused` where something else was asked for under it.
    """
    if not _KEY.fullmatch(key):
        raise InvalidRequest("Idempotency-Key has 1 to 255 visible ASCII characters.")
    digest = hashlib.sha256(asked).hexdigest()
    keys, now = ctx.store.idempotency_keys, ctx.now()
    if keys.claim(ctx.owner, key, digest, now):
        answer = act()
        keys.answer(ctx.owner, key, answer)
        return Outcome(answer=answer, is_replayed=False)
    known, answer = keys.get(ctx.owner, key)
    if known != digest:
        raise KeyReused(
            "This Idempotency-Key was used for another request; use a new key for a new request."
        )
    return Outcome(answer=answer, is_replayed=True)


def remove_old(store: Store, now: datetime) -> int:
    """Forget the keys of yesterday; returns how many."""
    return store.idempotency_keys.delete_old(now - TIME_TO_REMEMBER)
