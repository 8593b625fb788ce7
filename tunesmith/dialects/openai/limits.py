"""Rate limits: who asks for answers too fast is told when to come back, and all what is left."""

import math
from dataclasses import replace

from fastapi import Request

from tunesmith.dialects.openai.auth import as_caller
from tunesmith.dialects.openai.headers import RATE_LIMITS
from tunesmith.http import foundation_of, use_foundation
from tunesmith.services.limits import Limiter, MeteredSampler, Standing


async def within_limits(request: Request) -> None:
    """For routes that answer: counts the request, and from then on the tokens of its answers."""
    limiter: Limiter = request.app.state.limiter
    if not limiter:
        return
    async with as_caller(request, writes=False) as ctx:
        owner, key = ctx.owner, ctx.key.id
    request.scope[RATE_LIMITS] = lambda: headers(limiter.standings(owner))
    limiter.admit(owner, key)
    foundation = foundation_of(request)
    metered = MeteredSampler(foundation.house.sampler, limiter, owner, key)
    use_foundation(request, replace(foundation, house=replace(foundation.house, sampler=metered)))


def headers(standings: tuple[Standing, ...]) -> dict[str, str]:
    told = {}
    for standing in standings:
        told[f"x-ratelimit-limit-{standing.unit}"] = str(standing.limit)
        told[f"x-ratelimit-remaining-{standing.unit}"] = str(standing.remaining)
        told[f"x-ratelimit-reset-{standing.unit}"] = go_duration(standing.full_in_seconds)
    return told


def go_duration(seconds: float) -> str:
    """As Go prints one, to the millisecond: 0s, 120ms, 8.64s, 6m0s, 1h0m0s."""
    milliseconds = math.ceil(seconds * 1000)
    if 0 < milliseconds < 1000:
        return f"{milliseconds}ms"
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    shown = f"{milliseconds / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{shown}"
    return f"{minutes}m{shown}" if minutes else shown
