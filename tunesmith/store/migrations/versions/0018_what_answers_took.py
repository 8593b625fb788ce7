"""Requests and tokens of answers, by organization, day, key and model."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "answers_usage",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("key_id", sa.Uuid(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("short_id", sa.Text(), nullable=False),
        sa.Column("requests", sa.BigInteger(), nullable=False),
        sa.Column("prompt_tokens", sa.BigInteger(), nullable=False),
        sa.Column("completion_tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_answers_usage_organization_id"),
        ),
        sa.PrimaryKeyConstraint(
            *("organization_id", "day", "key_id", "base_model", "short_id"),
            name=op.f("pk_answers_usage"),
        ),
    )


def downgrade() -> None:
    op.drop_table("answers_usage")
