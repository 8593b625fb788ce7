"""Which tokens of which rows a job learns, as a digest."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("jobs", sa.Column("mask", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("jobs", "mask")
