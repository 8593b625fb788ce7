"""Adapters that are registered by hand, and the e-mail of a key's owner."""

from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


@contextmanager
def _permissions_kept() -> Iterator[None]:
    """SQLite changes a table by making it anew; the rows that hang on the old one go with it."""
    connection = op.get_bind()
    if connection.dialect.name != "sqlite":
        yield
        return
    table = sa.Table("checkpoint_permissions", sa.MetaData(), autoload_with=connection)
    rows = [dict(row) for row in connection.execute(sa.select(table)).mappings()]
    yield
    if rows:
        connection.execute(sa.insert(table), rows)


def upgrade() -> None:
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.add_column(sa.Column("email", sa.Text(), nullable=True))
    with _permissions_kept(), op.batch_alter_table("tuned_models", schema=None) as batch_op:
        batch_op.alter_column("job_id", existing_type=sa.Uuid(), nullable=True)
        batch_op.create_index(batch_op.f("ix_tuned_models_job_id"), ["job_id"], unique=False)

    op.create_table(
        "registered_adapters",
        sa.Column(
            "seq",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("base_model_as_given", sa.Text(), nullable=True),
        sa.Column("is_public", sa.Boolean(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("model_id", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"],
            ["jobs.id"],
            name=op.f("fk_registered_adapters_job_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_registered_adapters_organization_id"),
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_registered_adapters")),
        sa.UniqueConstraint("id", name=op.f("uq_registered_adapters_id")),
        sa.UniqueConstraint(
            "organization_id", "name", name=op.f("uq_registered_adapters_organization_id_name")
        ),
    )
    with op.batch_alter_table("registered_adapters", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_registered_adapters_is_public_name"),
            ["is_public", "name"],
            unique=False,
        )
        for column in ("job_id", "model_id"):
            name = f"ix_registered_adapters_{column}"
            batch_op.create_index(batch_op.f(name), [column], unique=False)


def downgrade() -> None:
    op.drop_table("registered_adapters")
    op.execute("DELETE FROM tuned_models WHERE job_id IS NULL")
    with _permissions_kept(), op.batch_alter_table("tuned_models", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tuned_models_job_id"))
        batch_op.alter_column("job_id", existing_type=sa.Uuid(), nullable=False)
    with op.batch_alter_table("keys", schema=None) as batch_op:
        batch_op.drop_column("email")
