"""Tables of what others are told: webhooks and integrations."""

import sqlalchemy as sa

from tunesmith.store.tables import UtcTime, metadata, sequence

webhook_endpoints = sa.Table(
    "webhook_endpoints",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("outcomes", sa.JSON, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "organization_id", "seq"),
)

# A row with an `available_at` is to be sent then, by the server that claims it.
webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column(
        "endpoint_id",
        sa.Uuid,
        sa.ForeignKey("webhook_endpoints.id", ondelete="CASCADE"),
        nullable=False,
    ),
    sa.Column("event_id", sa.Uuid, nullable=False),
    sa.Column("job_id", sa.Uuid, nullable=False),  # of a test event: of no job
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("available_at", UtcTime),
    sa.Column("claimed_until", UtcTime),
    sa.Column("delivered_at", UtcTime),
    sa.Column("last_attempt_at", UtcTime),
    sa.Column("last_result", sa.Text),
    sa.Index(None, "available_at"),
    sa.Index(None, "endpoint_id", "seq"),
)

# One row for each integration of a job; one with an `available_at` has more to be told then.
integration_runs = sa.Table(
    "integration_runs",
    metadata,
    sequence(),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("position", sa.Integer, nullable=False),  # in the job's list of integrations
    sa.Column("logged_step", sa.Integer, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("misses", sa.Integer, nullable=False),
    sa.Column("available_at", UtcTime),
    sa.Column("claimed_until", UtcTime),
    sa.Column("failing_since", UtcTime),
    sa.Column("is_warned", sa.Boolean, nullable=False),
    sa.UniqueConstraint("job_id", "position"),
    sa.Index(None, "available_at"),
)
