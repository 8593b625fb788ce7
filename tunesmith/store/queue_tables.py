"""Tables of the queue: what waits, who works, and what organizations have had."""

import sqlalchemy as sa

from tunesmith.store.tables import UtcTime, metadata, sequence

# One row for each job that wants something done; a row with a worker is leased to it.
queue = sa.Table(
    "queue",
    metadata,
    sequence(),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id"), nullable=False, unique=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("available_at", UtcTime, nullable=False),
    sa.Column("worker", sa.Text),
    sa.Column("incarnation", sa.Uuid),
    sa.Column("attempt", sa.Integer),
    sa.Column("lease_expires_at", UtcTime),
    sa.Column("batches_stored", sa.Integer, nullable=False, server_default="0"),
    sa.Column("losses", sa.Integer, nullable=False, server_default="0"),
    sa.Column("silences", sa.Integer, nullable=False, server_default="0"),
    # As the job has them: who is next is decided on this table alone.
    sa.Column("organization_id", sa.Uuid, nullable=False),
    sa.Column("base_model", sa.Text, nullable=False),  # `Job.host_of`
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("leased_at", UtcTime),
    sa.Column("passed_over_at", UtcTime),
    sa.Index(
        "ix_queue_next",
        *("worker", "task", "organization_id", "priority", "base_model", "available_at"),
    ),
    sa.Index(None, "organization_id"),
)

# One row. Whoever places a job holds its lock until the placement is committed.
scheduler = sa.Table(
    "scheduler",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("virtual_time", sa.Double, nullable=False),
    sa.Column("heard_at", UtcTime),  # when a server last looked for silent workers
)

# What organizations have had of the workers' time, in seconds divided by their weight.
fair_shares = sa.Table(
    "fair_shares",
    metadata,
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), primary_key=True),
    sa.Column("virtual_time", sa.Double, nullable=False),
)

trained_tokens = sa.Table(
    "trained_tokens",
    metadata,
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),  # since 1970, in UTC
    sa.Column("tokens", sa.BigInteger, nullable=False),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("incarnation", sa.Uuid, nullable=False),
    sa.Column("registration", sa.JSON, nullable=False),
    sa.Column("seen_at", UtcTime, nullable=False),
)
