"""What an organization has trained, and what its answers took, day by day."""

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TypeVar

from tunesmith.domain.accounts import Key, Scope
from tunesmith.domain.quotas import day_of
from tunesmith.domain.usage import Spent, UsageRow
from tunesmith.services.context import Context

_FIRST_DAY = date(1970, 1, 1)

Group = TypeVar("Group", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswersUsage:
    """By day, oldest first, with nothing where nothing was asked; the others by what they took.

    `by_key` has all keys for one with the scope `admin`. Others see themselves, and under None
    what all other keys took.
    """

    by_day: dict[date, Spent]
    by_model: dict[str, Spent]
    by_key: dict[Key | None, Spent]


def trained_tokens_by_day(ctx: Context, num_days: int) -> dict[date, int]:
    """Of the last days, today included, oldest first; zeros where nothing was trained."""
    ctx.require(Scope.JOBS_READ)
    today = day_of(ctx.now())
    first = today - num_days + 1
    trained = ctx.store.shares.tokens_by_day(ctx.owner, first)
    return {
        _FIRST_DAY + timedelta(days=day): trained.get(day, 0) for day in range(first, today + 1)
    }


def answers(ctx: Context, num_days: int) -> AnswersUsage:
    """Of the last days, today included."""
    ctx.require(Scope.JOBS_READ)
    today = day_of(ctx.now())
    first = today - num_days + 1
    rows = ctx.store.answers_usage.list_since(ctx.owner, first)
    sees_all = ctx.key.allows(Scope.ADMIN)
    keys = {key.id: key for key in ctx.store.accounts.list_keys(ctx.owner)}
    visible = keys if sees_all else {ctx.key.id: ctx.key}
    days = _sums(rows, lambda row: row.day)
    return AnswersUsage(
        by_day={
            _FIRST_DAY + timedelta(days=day): days.get(day, Spent())
            for day in range(first, today + 1)
        },
        by_model=_sums(rows, lambda row: row.model),
        by_key=_sums(rows, lambda row: visible.get(row.key_id)),
    )


def _sums(rows: tuple[UsageRow, ...], group: Callable[[UsageRow], Group]) -> dict[Group, Spent]:
    """The largest first."""
    sums: defaultdict[Group, Spent] = defaultdict(Spent)
    for row in rows:
        sums[group(row)] += row.spent
    return dict(sorted(sums.items(), key=lambda pair: -pair[1].tokens))
