"""What an organization has trained, day by day."""

from datetime import date, timedelta

from tunesmith.domain.accounts import Scope
from tunesmith.domain.quotas import day_of
from tunesmith.services.context import Context

_FIRST_DAY = date(1970, 1, 1)


def trained_tokens_by_day(ctx: Context, num_days: int) -> dict[date, int]:
    """Of the last days, today included, oldest first; zeros where nothing was trained."""
    ctx.require(Scope.JOBS_READ)
    today = day_of(ctx.now())
    first = today - num_days + 1
    trained = ctx.store.shares.tokens_by_day(ctx.owner, first)
    return {
        _FIRST_DAY + timedelta(days=day): trained.get(day, 0) for day in range(first, today + 1)
    }
