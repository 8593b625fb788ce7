"""Jobs' method, first model, integrations, wish to pause, and what they were asked for with."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ADDED: tuple[sa.Column[Any], ...] = (
    sa.Column("method", sa.Text(), nullable=False, server_default="supervised"),
    sa.Column("initial_model", sa.JSON(), nullable=True),
    sa.Column("integrations", sa.JSON(), nullable=False, server_default="[]"),
    sa.Column("is_pause_wanted", sa.Boolean(), nullable=False, server_default=sa.false()),
    sa.Column("request_digest", sa.Text(), nullable=True),
)


# Not in a batch: SQLite would make the table anew, and the rows that hang on the old one forbid it.
def upgrade() -> None:
    for column in ADDED:
        op.add_column("jobs", column)


def downgrade() -> None:
    for column in reversed(ADDED):
        op.drop_column("jobs", column.name)
