"""The schema. Times are UTC microseconds, so that both databases order and compare them alike."""

from datetime import UTC, datetime, timedelta

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class UtcTime(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, stored as an integer of microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite numbers rows by itself only in a column of exactly this type.
Sequence = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def sequence() -> sa.Column[int]:
    """The order in which rows were made; lists are paged by it."""
    return sa.Column("seq", Sequence, primary_key=True, autoincrement=True)


organizations = sa.Table(
    "organizations",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("slug", sa.Text, nullable=False, unique=True),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("suspended_at", UtcTime),
    sa.Column("weight", sa.Double, nullable=False, server_default="1"),
    sa.Column("default_priority", sa.Integer, nullable=False, server_default="3"),
    # The quotas; without a value there is no limit.
    sa.Column("max_running_jobs", sa.Integer),
    sa.Column("max_queued_jobs", sa.Integer),
    sa.Column("max_stored_bytes", sa.BigInteger),
    sa.Column("max_tokens_per_day", sa.BigInteger),
)

users = sa.Table(
    "users",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("email", sa.Text, nullable=False),  # as compared: trimmed and casefolded
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.UniqueConstraint("organization_id", "email"),
)

keys = sa.Table(
    "keys",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("visible_prefix", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.Column("scopes", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime),
    sa.Column("email", sa.Text),
    sa.Column("user_id", sa.Uuid, index=True),  # of a service's key: none
    sa.Column("revoked_at", UtcTime),
    sa.Column("last_used_at", UtcTime),
)

# Rows are added and never changed; `digest` is over all else and the digest before it.
audit_entries = sa.Table(
    "audit_entries",
    metadata,
    sequence(),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("number", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=False),
    sa.Column("before", sa.Text),
    sa.Column("after", sa.Text),
    sa.Column("key_id", sa.Uuid),
    sa.Column("user_id", sa.Uuid),
    sa.Column("request_id", sa.Text),
    sa.Column("ip", sa.Text),
    sa.Column("times", sa.Integer, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.UniqueConstraint("organization_id", "number"),
)

files = sa.Table(
    "files",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("expires_at", UtcTime, index=True),
    sa.Column("title", sa.Text),
    sa.Column("num_examples", sa.BigInteger),
    sa.Index(None, "organization_id", "seq"),
    sa.Index(None, "organization_id", "purpose", "seq"),
    sa.Index(None, "organization_id", "filename", "seq"),
)

uploads = sa.Table(
    "uploads",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("filename", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("lifetime_seconds", sa.BigInteger),
    sa.Column("created_at", UtcTime, nullable=False, index=True),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("completion", sa.JSON),
    sa.Column("file_id", sa.Uuid),
)

# The bytes that pending uploads are waiting for the rest of; gone when the upload is final.
upload_parts = sa.Table(
    "upload_parts",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column(
        "upload_id",
        sa.Uuid,
        sa.ForeignKey("uploads.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.BigInteger, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
)

base_models = sa.Table(
    "base_models",
    metadata,
    sequence(),
    sa.Column("name", sa.Text, nullable=False, unique=True),
    sa.Column("entry", sa.JSON, nullable=False),
)

# An alias is unique over all models, and may not be another model's name (checked when added).
base_model_names = sa.Table(
    "base_model_names",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column(
        "base_model", sa.Text, sa.ForeignKey("base_models.name", ondelete="CASCADE"), nullable=False
    ),
)

# An index of some rows is used where a query says the same words.
has_no_metadata = sa.text("CAST(metadata AS TEXT) IN ('null', '{}')")
is_milestone = sa.text("kind <> 'step'")  # an event that is not one of a job's many
JOB_ORDERS = (
    *("created_at", "updated_at", "started_at", "finished_at"),
    *("name", "status", "base_model", "num_trained_tokens"),
)


def _partial(name: str, *columns: str, where: sa.TextClause) -> sa.Index:
    return sa.Index(name, *columns, sqlite_where=where, postgresql_where=where)


jobs = sa.Table(
    "jobs",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("base_model", sa.Text, nullable=False),
    sa.Column("training_file_id", sa.Uuid, nullable=False),
    sa.Column("training_sha256", sa.Text, nullable=False),
    sa.Column("training_bytes", sa.BigInteger, nullable=False),
    sa.Column("validation_file_id", sa.Uuid),
    sa.Column("validation_sha256", sa.Text),
    sa.Column("validation_bytes", sa.BigInteger),
    sa.Column("hyperparameters", sa.JSON, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("suffix", sa.Text),
    sa.Column("metadata", sa.JSON),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("finished_at", UtcTime),
    sa.Column("estimated_finish_at", UtcTime),
    sa.Column("trained_tokens", sa.BigInteger),
    sa.Column("failure", sa.JSON),
    sa.Column("mask", sa.JSON),
    sa.Column("tuned_model_short_id", sa.Text),
    sa.Column("results_file_id", sa.Uuid),
    sa.Column("method", sa.Text, nullable=False, server_default="supervised"),
    sa.Column("initial_model", sa.JSON),
    sa.Column("integrations", sa.JSON, nullable=False, server_default="[]"),
    sa.Column("is_pause_wanted", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("request_digest", sa.Text),
    sa.Column("name", sa.Text, nullable=False, server_default=""),
    sa.Column("description", sa.Text),
    sa.Column("search_text", sa.Text, nullable=False, server_default=""),  # of both, casefolded
    sa.Column("key_id", sa.Uuid),
    sa.Column("needs_deployment", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("started_at", UtcTime),
    sa.Column("updated_at", UtcTime),
    sa.Column("progress", sa.JSON),
    sa.Column("num_trained_tokens", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("model_name", sa.Text),
    sa.Column("training_filename", sa.Text),
    sa.Column("training_reference", sa.Text),
    sa.Column("validation_filename", sa.Text),
    sa.Column("validation_reference", sa.Text),
    sa.Column("logged_ms", sa.BigInteger, nullable=False, server_default="0"),  # newest event's
    sa.Column("priority", sa.Integer, nullable=False, server_default="3"),
    sa.Column("traceparent", sa.Text),
    sa.Index(None, "organization_id", "seq"),
    # Each order that a list can have, with the id to decide between equals; read either way.
    *(sa.Index(None, "organization_id", column, "id") for column in JOB_ORDERS),
    # Each filter, in the order that lists have unless told otherwise.
    sa.Index(None, "organization_id", "status", "created_at", "id"),
    sa.Index(None, "organization_id", "base_model", "created_at", "id"),
    _partial("ix_jobs_without_metadata", "organization_id", "seq", where=has_no_metadata),
    # Whether a file is still needed.
    sa.Index(None, "training_file_id"),
    sa.Index(None, "validation_file_id"),
)

events = sa.Table(
    "events",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("level", sa.Text, nullable=False),
    # Set for metric points alone, which are one a step; not for those from before a restart.
    sa.Column("step", sa.Integer),
    sa.Column("logged_ms", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("data", sa.JSON, nullable=False),
    sa.UniqueConstraint("job_id", "step"),
    sa.Index(None, "job_id", "seq"),
    sa.Index(None, "job_id", "logged_ms"),
    _partial("ix_events_milestones", "job_id", "kind", "seq", where=is_milestone),
)

checkpoints = sa.Table(
    "checkpoints",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("epoch", sa.Integer),
    sa.Column("artifacts", sa.JSON, nullable=False),
    sa.Column("tuned_model_short_id", sa.Text),
    sa.Column("metrics", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.UniqueConstraint("job_id", "step"),
)

tuned_models = sa.Table(
    "tuned_models",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("short_id", sa.Text, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id"), index=True),
    sa.Column("base_model", sa.Text, nullable=False),
    sa.Column("suffix", sa.Text),
    sa.Column("step", sa.Integer),
    sa.Column("artifacts", sa.JSON, nullable=False),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Index(None, "organization_id", "seq"),
)

registered_adapters = sa.Table(
    "registered_adapters",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("base_model", sa.Text, nullable=False),
    sa.Column("base_model_as_given", sa.Text),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("files", sa.JSON, nullable=False),
    sa.Column("job_id", sa.Uuid, sa.ForeignKey("jobs.id", ondelete="SET NULL"), index=True),
    sa.Column("model_id", sa.Uuid, index=True),  # goes with the tuned model of that id
    sa.Column("created_at", UtcTime, nullable=False),
    sa.Column("modified_at", UtcTime, nullable=False),
    sa.UniqueConstraint("organization_id", "name"),
    sa.Index(None, "is_public", "name"),
)

checkpoint_permissions = sa.Table(
    "checkpoint_permissions",
    metadata,
    sequence(),
    sa.Column("id", sa.Uuid, nullable=False, unique=True),
    sa.Column(
        "model_id", sa.Uuid, sa.ForeignKey("tuned_models.id", ondelete="CASCADE"), nullable=False
    ),
    sa.Column("project", sa.Text, nullable=False),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id")),
    sa.Column("created_at", UtcTime, nullable=False),
    sa.UniqueConstraint("model_id", "project"),
)

# The plain names of jobs' models; without a `deployed_at` the model does not answer yet.
deployments = sa.Table(
    "deployments",
    metadata,
    sequence(),
    sa.Column(
        "model_id",
        sa.Uuid,
        sa.ForeignKey("tuned_models.id", ondelete="CASCADE"),
        nullable=False,
        unique=True,
    ),
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("deployed_at", UtcTime),
    sa.UniqueConstraint("organization_id", "name"),
)

answers_usage = sa.Table(
    "answers_usage",
    metadata,
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), primary_key=True),
    sa.Column("day", sa.Integer, primary_key=True, autoincrement=False),  # since 1970, in UTC
    sa.Column("key_id", sa.Uuid, primary_key=True),
    sa.Column("base_model", sa.Text, primary_key=True),
    sa.Column("short_id", sa.Text, primary_key=True),  # of a tuned model; empty for the base
    sa.Column("requests", sa.BigInteger, nullable=False),
    sa.Column("prompt_tokens", sa.BigInteger, nullable=False),
    sa.Column("completion_tokens", sa.BigInteger, nullable=False),
)

# A row is there from when its transaction began; others see it with the answer alone.
idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    sa.Column("organization_id", sa.Uuid, sa.ForeignKey("organizations.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("request_digest", sa.Text, nullable=False),
    sa.Column("answer", sa.JSON),
    sa.Column("created_at", UtcTime, nullable=False, index=True),
)
