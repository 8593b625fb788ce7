"""What answers took, by organization, day, key and model."""

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.usage import Account, Spent, UsageRow
from tunesmith.store.rows import insert_or_else
from tunesmith.store.tables import answers_usage, deployments, tuned_models

_KEY = ("organization_id", "day", "key_id", "base_model", "short_id")
_FIGURES = ("requests", "prompt_tokens", "completion_tokens")


class AnswersUsage:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, spent: Mapping[Account, Spent]) -> None:
        """To what there is. In one order, so that two servers do not wait for each other."""
        insert = insert_or_else(self._connection, answers_usage)
        added = {name: answers_usage.c[name] + insert.excluded[name] for name in _FIGURES}
        rows = [
            {name: getattr(account, name) for name in _KEY}
            | {name: getattr(figures, name) for name in _FIGURES}
            for account, figures in spent.items()
        ]
        rows.sort(key=lambda row: [str(row[name]) for name in _KEY])
        self._connection.execute(
            insert.on_conflict_do_update(index_elements=_KEY, set_=added), rows
        )

    def list_since(self, owner: UUID, first_day: int) -> tuple[UsageRow, ...]:
        u = answers_usage.c
        query = (
            sa.select(answers_usage, deployments.c.name)
            .outerjoin(
                tuned_models,
                sa.and_(
                    tuned_models.c.short_id == u.short_id, tuned_models.c.organization_id == owner
                ),
            )
            .outerjoin(deployments, deployments.c.model_id == tuned_models.c.id)
            .where(u.organization_id == owner, u.day >= first_day)
        )
        return tuple(
            UsageRow(
                day=row["day"],
                key_id=row["key_id"],
                model=row["name"] or ":".join(filter(None, (row["base_model"], row["short_id"]))),
                spent=Spent(**{name: row[name] for name in _FIGURES}),
            )
            for row in self._connection.execute(query).mappings()
        )
