"""Organizations' weights and quotas, jobs' priorities, and what the scheduler decides on."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# The defaults are text: for an expression SQLite would make a table anew, on which others hang.
ADDED: dict[str, tuple[sa.Column[Any], ...]] = {
    "organizations": (
        sa.Column("weight", sa.Double(), nullable=False, server_default="1"),
        sa.Column("default_priority", sa.Integer(), nullable=False, server_default="3"),
        sa.Column("max_running_jobs", sa.Integer(), nullable=True),
        sa.Column("max_queued_jobs", sa.Integer(), nullable=True),
        sa.Column("max_stored_bytes", sa.BigInteger(), nullable=True),
        sa.Column("max_tokens_per_day", sa.BigInteger(), nullable=True),
    ),
    "jobs": (sa.Column("priority", sa.Integer(), nullable=False, server_default="3"),),
    "queue": (
        sa.Column("silences", sa.Integer(), nullable=False, server_default="0"),
        sa.Column("organization_id", sa.Uuid(), nullable=True),
        sa.Column("base_model", sa.Text(), nullable=True),
        sa.Column("priority", sa.Integer(), nullable=True),
        sa.Column("leased_at", sa.BigInteger(), nullable=True),
        sa.Column("passed_over_at", sa.BigInteger(), nullable=True),
    ),
}
COPIED = ("organization_id", "base_model", "priority")
NEXT = ["worker", "task", "organization_id", "priority", "base_model", "available_at"]

jobs = sa.table("jobs", *(sa.column(name) for name in ("id", *COPIED)))
queue = sa.table("queue", *(sa.column(name) for name in ("job_id", *COPIED)))


def upgrade() -> None:
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column)
    copies = {
        name: sa.select(jobs.c[name]).where(jobs.c.id == queue.c.job_id).scalar_subquery()
        for name in COPIED
    }
    op.execute(sa.update(queue).values(**copies))
    op.drop_index("ix_queue_worker_available_at", table_name="queue")
    with op.batch_alter_table("queue") as batch:
        batch.alter_column("organization_id", existing_type=sa.Uuid(), nullable=False)
        batch.alter_column("base_model", existing_type=sa.Text(), nullable=False)
        batch.alter_column("priority", existing_type=sa.Integer(), nullable=False)
    op.create_index("ix_queue_next", "queue", NEXT)
    op.create_index("ix_queue_organization_id", "queue", ["organization_id"])
    _create_tables()


def downgrade() -> None:
    for name in ("trained_tokens", "fair_shares", "scheduler"):
        op.drop_table(name)
    op.drop_index("ix_queue_organization_id", table_name="queue")
    op.drop_index("ix_queue_next", table_name="queue")
    for table, columns in ADDED.items():
        for column in reversed(columns):
            op.drop_column(table, column.name)
    op.create_index("ix_queue_worker_available_at", "queue", ["worker", "available_at"])


def _create_tables() -> None:
    made = op.create_table(
        "scheduler",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("virtual_time", sa.Double(), nullable=False),
        sa.Column("heard_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduler")),
    )
    op.bulk_insert(made, [{"id": 1, "virtual_time": 0.0}])
    op.create_table(
        "fair_shares",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("virtual_time", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_fair_shares_organization_id")
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_fair_shares")),
    )
    op.create_table(
        "trained_tokens",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_trained_tokens_organization_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", "day", name=op.f("pk_trained_tokens")),
    )
