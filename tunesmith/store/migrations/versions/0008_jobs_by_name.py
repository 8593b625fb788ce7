"""Jobs' names, progress and log lines; plain names of models; datasets' titles."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

ADDED: dict[str, tuple[sa.Column[Any], ...]] = {
    "jobs": (
        sa.Column("name", sa.Text(), nullable=False, server_default=""),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("search_text", sa.Text(), nullable=False, server_default=""),
        sa.Column("key_id", sa.Uuid(), nullable=True),
        # As text: for an expression SQLite would make the table anew, on which others hang.
        sa.Column("needs_deployment", sa.Boolean(), nullable=False, server_default="0"),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.BigInteger(), nullable=True),
        sa.Column("progress", sa.JSON(), nullable=True),
        sa.Column("num_trained_tokens", sa.BigInteger(), nullable=False, server_default="0"),
        sa.Column("model_name", sa.Text(), nullable=True),
        sa.Column("training_filename", sa.Text(), nullable=True),
        sa.Column("training_reference", sa.Text(), nullable=True),
        sa.Column("validation_filename", sa.Text(), nullable=True),
        sa.Column("validation_reference", sa.Text(), nullable=True),
        sa.Column("logged_ms", sa.BigInteger(), nullable=False, server_default="0"),
    ),
    "events": (sa.Column("logged_ms", sa.BigInteger(), nullable=False, server_default="0"),),
    "files": (
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("num_examples", sa.BigInteger(), nullable=True),
    ),
}
INDEXES = {
    "jobs": (("organization_id", "created_at"), ("organization_id", "status")),
    "events": (("job_id", "logged_ms"),),
}

jobs = sa.table(
    "jobs",
    *(sa.column(name) for name in ("seq", "id", "base_model", "suffix", "name", "search_text")),
    *(sa.column(name) for name in ("created_at", "finished_at", "updated_at")),
    *(sa.column(name) for name in ("trained_tokens", "num_trained_tokens", "logged_ms")),
)
events = sa.table(
    "events", *(sa.column(name) for name in ("seq", "job_id", "created_at", "logged_ms"))
)


def upgrade() -> None:
    # Not in a batch: SQLite would make jobs anew, and the rows that hang on them forbid it.
    for table, columns in ADDED.items():
        for column in columns:
            op.add_column(table, column)
        for index in INDEXES.get(table, ()):
            op.create_index(op.f(f"ix_{table}_{'_'.join(index)}"), table, list(index))
    op.create_table(
        "deployments",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("model_id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("deployed_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["tuned_models.id"],
            name=op.f("fk_deployments_model_id"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"], ["organizations.id"], name=op.f("fk_deployments_organization_id")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_deployments")),
        sa.UniqueConstraint("model_id", name=op.f("uq_deployments_model_id")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_deployments_organization_id_name")
        ),
    )
    _fill_in()


def downgrade() -> None:
    op.drop_table("deployments")
    for table, columns in ADDED.items():
        for index in INDEXES.get(table, ()):
            op.drop_index(op.f(f"ix_{table}_{'_'.join(index)}"), table_name=table)
        for column in reversed(columns):
            op.drop_column(table, column.name)


def _fill_in() -> None:
    """What the rows that are there already would have, had they been written now."""
    connection = op.get_bind()
    newest: dict[Any, int] = {}
    rows = sa.select(events.c.seq, events.c.job_id, events.c.created_at).order_by(events.c.seq)
    for seq, job_id, created_at in connection.execute(rows).all():
        newest[job_id] = max(created_at // 1000, newest.get(job_id, 0) + 1)
        line = sa.update(events).where(events.c.seq == seq).values(logged_ms=newest[job_id])
        connection.execute(line)
    for job in connection.execute(sa.select(jobs)).mappings().all():
        name = job["suffix"] or job["base_model"]
        values = {
            "name": name,
            "search_text": f"{name}\n".casefold(),
            "updated_at": job["finished_at"] or job["created_at"],
            "num_trained_tokens": job["trained_tokens"] or 0,
            "logged_ms": newest.get(job["id"], 0),
        }
        connection.execute(sa.update(jobs).where(jobs.c.seq == job["seq"]).values(**values))
