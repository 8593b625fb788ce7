"""How fast base models were tuned on which devices, and how long examples were."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "throughputs",
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("tokens_per_second", sa.Double(), nullable=False),
        sa.Column("startup_seconds", sa.Double(), nullable=True),
        sa.Column("num_jobs", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("base_model", "device", name=op.f("pk_throughputs")),
    )
    op.create_table(
        "example_lengths",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("tokens_per_example", sa.Double(), nullable=False),
        sa.Column("num_jobs", sa.Integer(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["organization_id"],
            ["organizations.id"],
            name=op.f("fk_example_lengths_organization_id"),
        ),
        sa.PrimaryKeyConstraint("organization_id", name=op.f("pk_example_lengths")),
    )


def downgrade() -> None:
    op.drop_table("example_lengths")
    op.drop_table("throughputs")
