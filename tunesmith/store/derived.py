"""Tables that follow from the others: what lists are counted and found by, and measurements."""

import sqlalchemy as sa

from tunesmith.store.tables import UtcTime, metadata

# Triggers on `jobs` keep these two (migration 0013): nothing else writes them, and no statement
# that writes jobs can forget them.
job_counts = sa.Table(
    "job_counts",
    metadata,
    sa.Column("organization_id", sa.Uuid, primary_key=True),
    sa.Column("status", sa.Text, primary_key=True),
    sa.Column("base_model", sa.Text, primary_key=True),
    sa.Column("count", sa.BigInteger, nullable=False),
)

job_metadata = sa.Table(
    "job_metadata",
    metadata,
    sa.Column("organization_id", sa.Uuid, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sa.Column("job_seq", sa.BigInteger, primary_key=True, autoincrement=False),
)

throughputs = sa.Table(
    "throughputs",
    metadata,
    sa.Column("base_model", sa.Text, primary_key=True),
    sa.Column("device", sa.Text, primary_key=True),
    sa.Column("tokens_per_second", sa.Double, nullable=False),
    sa.Column("startup_seconds", sa.Double),
    sa.Column("num_jobs", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

example_lengths = sa.Table(
    "example_lengths",
    metadata,
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), primary_key=True),
    sa.Column("tokens_per_example", sa.Double, nullable=False),
    sa.Column("num_jobs", sa.Integer, nullable=False),
    sa.Column("updated_at", UtcTime, nullable=False),
)

# Written only to find out whether it can be.
readiness = sa.Table(
    "readiness",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("checked_at", UtcTime, nullable=False),
)
