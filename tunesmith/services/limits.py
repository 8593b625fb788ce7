"""How much an organization, or a key, may ask in a minute: a bucket of requests, one of tokens.

The buckets are in this process's memory: of several servers, each has its own.
"""

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.assignments import EmbedRequest, SampleOutput, SamplePart, SampleRequest
from tunesmith.domain.errors import RateLimited
from tunesmith.services.ports import Sampler

SECONDS = 60.0


class Unit(StrEnum):
    REQUESTS = "requests"
    TOKENS = "tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is left of a limit; `full_in_seconds` until all of it is there again."""

    unit: Unit
    limit: int
    remaining: int
    full_in_seconds: float


@dataclass(slots=True)
class _Bucket:
    """Holds a minute's worth and fills up evenly. A debt, below zero, is paid off first."""

    limit: int
    level: float
    at: float

    def fill(self, now: float) -> None:
        self.level = min(self.limit, self.level + (now - self.at) * self.limit / SECONDS)
        self.at = now

    def seconds_until(self, level: float) -> float:
        return max(0.0, level - self.level) * SECONDS / self.limit


class Limiter:
    """For one thread, the event loop's. `per_minute` names the units that are limited.

    `per_key` are the limits of each key beside those of its organization.
    """

    def __init__(
        self,
        per_minute: Mapping[Unit, int],
        clock: Callable[[], float] = time.monotonic,
        *,
        per_key: Mapping[Unit, int] | None = None,
    ) -> None:
        self._per_minute = dict(per_minute)
        self._per_key = dict(per_key or {})
        self._clock = clock
        self._buckets: dict[tuple[UUID, Unit], _Bucket] = {}

    def __bool__(self) -> bool:
        return bool(self._per_minute or self._per_key)

    def admit(self, owner: UUID, key: UUID | None = None) -> None:
        """Count a request; raises `RateLimited`, and counts nothing, where a bucket is empty.

        How many tokens it takes is known when it is answered. So it is let in while any are left,
        and what it takes beyond them is a debt.
        """
        for unit in Unit:
            for bucket in self._buckets_of(owner, key, unit):
                if bucket.level < 1:
                    wait = bucket.seconds_until(1)
                    raise RateLimited(unit, bucket.limit, retry_after_seconds=wait)
        self.spend(owner, Unit.REQUESTS, 1, key)

    def spend(self, owner: UUID, unit: Unit, amount: int, key: UUID | None = None) -> None:
        for bucket in self._buckets_of(owner, key, unit):
            bucket.level -= amount

    def standings(self, owner: UUID) -> tuple[Standing, ...]:
        """Of the organization."""
        return tuple(
            self._standing(unit, self._bucket(owner, unit, limit))
            for unit, limit in self._per_minute.items()
        )

    def _buckets_of(self, owner: UUID, key: UUID | None, unit: Unit) -> list[_Bucket]:
        found = []
        if unit in self._per_minute:
            found.append(self._bucket(owner, unit, self._per_minute[unit]))
        if key is not None and unit in self._per_key:
            found.append(self._bucket(key, unit, self._per_key[unit]))
        return found

    def _bucket(self, whose: UUID, unit: Unit, limit: int) -> _Bucket:
        """As it is now."""
        now = self._clock()
        bucket = self._buckets.setdefault((whose, unit), _Bucket(limit, limit, now))
        bucket.fill(now)
        return bucket

    @staticmethod
    def _standing(unit: Unit, bucket: _Bucket) -> Standing:
        return Standing(
            unit=unit,
            limit=bucket.limit,
            remaining=max(0, int(bucket.level)),
            full_in_seconds=bucket.seconds_until(bucket.limit),
        )


class MeteredSampler:
    """A `Sampler` that counts what its answers take from their owner's tokens."""

    def __init__(
        self, sampler: Sampler, limiter: Limiter, owner: UUID, key: UUID | None = None
    ) -> None:
        self._sampler = sampler
        self._limiter = limiter
        self._owner = owner
        self._key = key

    @property
    def is_busy(self) -> bool:
        return self._sampler.is_busy

    async def sample(self, request: SampleRequest) -> AsyncGenerator[SampleOutput, None]:
        taken = 0
        try:
            async with aclosing(self._sampler.sample(request)) as outputs:
                async for output in outputs:
                    if output.part is SamplePart.DONE:
                        taken = output.prompt_tokens + output.completion_tokens
                    else:
                        taken += 1  # all that is known of an answer that nobody waits for
                    yield output
        finally:
            self._limiter.spend(self._owner, Unit.TOKENS, taken, self._key)

    async def embed(self, request: EmbedRequest) -> SampleOutput:
        output = await self._sampler.embed(request)
        self._limiter.spend(self._owner, Unit.TOKENS, output.prompt_tokens, self._key)
        return output
