"""Lists of a million jobs: an index for every order, counts, words and metadata kept by triggers.

The triggers are the database's own, so that no statement that writes jobs can forget them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

Columns = tuple[str, ...]
INDEXES: dict[str, tuple[Columns, ...]] = {
    "jobs": (
        ("organization_id", "created_at", "id"),
        ("organization_id", "updated_at", "id"),
        ("organization_id", "started_at", "id"),
        ("organization_id", "finished_at", "id"),
        ("organization_id", "name", "id"),
        ("organization_id", "status", "id"),
        ("organization_id", "base_model", "id"),
        ("organization_id", "num_trained_tokens", "id"),
        ("organization_id", "status", "created_at", "id"),
        ("organization_id", "base_model", "created_at", "id"),
        ("training_file_id",),
        ("validation_file_id",),
    ),
    "files": (
        ("organization_id", "purpose", "seq"),
        ("organization_id", "filename", "seq"),
    ),
}
SUPERSEDED: dict[str, tuple[Columns, ...]] = {
    "jobs": (("organization_id", "created_at"), ("organization_id", "status"))
}
PARTIAL = {
    "ix_jobs_without_metadata": (
        "jobs",
        ["organization_id", "seq"],
        sa.text("CAST(metadata AS TEXT) IN ('null', '{}')"),
    ),
    "ix_events_milestones": ("events", ["job_id", "kind", "seq"], sa.text("kind <> 'step'")),
}

_COUNT = """
    INSERT INTO job_counts VALUES ({row}.organization_id, {row}.status, {row}.base_model, {change})
    ON CONFLICT (organization_id, status, base_model)
    DO UPDATE SET count = job_counts.count + excluded.count;
"""
COUNT_NEW = _COUNT.format(row="new", change=1)
COUNT_OLD = _COUNT.format(row="old", change=-1)
_PAIRS = {"sqlite": "json_each", "postgresql": "json_each_text"}

# Of SQLite. A table of trigrams beside the jobs finds parts of their names.
SQLITE_TRIGGERS = {
    "jobs_added": ("INSERT", "{count_new} {pair_new} {text_new}"),
    "jobs_deleted": ("DELETE", "{count_old} {pair_old} {text_old}"),
    "jobs_moved": ("UPDATE OF status, base_model", "{count_old} {count_new}"),
    "jobs_marked": ("UPDATE OF metadata", "{pair_old} {pair_new}"),
    "jobs_named": ("UPDATE OF search_text", "{text_old} {text_new}"),
}
SQLITE_CHANGED = {
    "jobs_moved": "WHEN (old.status, old.base_model) IS NOT (new.status, new.base_model)",
    "jobs_marked": "WHEN old.metadata IS NOT new.metadata",
    "jobs_named": "WHEN old.search_text IS NOT new.search_text",
}
POSTGRES_FUNCTION = """
CREATE FUNCTION tunesmith_follow_jobs() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF (old.status, old.base_model) IS DISTINCT FROM (new.status, new.base_model) THEN
            {count_old} {count_new}
        END IF;
        IF CAST(old.metadata AS TEXT) IS DISTINCT FROM CAST(new.metadata AS TEXT) THEN
            {pair_old} {pair_new}
        END IF;
    ELSIF TG_OP = 'INSERT' THEN
        {count_new} {pair_new}
    ELSE
        {count_old} {pair_old}
    END IF;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    for table, indexes in SUPERSEDED.items():
        for columns in indexes:
            op.drop_index(_name(table, columns), table_name=table)
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.create_index(_name(table, columns), table, list(columns))
    for name, (table, some, where) in PARTIAL.items():
        op.create_index(name, table, some, sqlite_where=where, postgresql_where=where)
    op.create_table(
        "job_counts",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("base_model", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "organization_id", "status", "base_model", name=op.f("pk_job_counts")
        ),
    )
    op.create_table(
        "job_metadata",
        sa.Column("organization_id", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("job_seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint(
            "organization_id", "key", "value", "job_seq", name=op.f("pk_job_metadata")
        ),
    )
    _follow_jobs()
    _fill_in()


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for name in SQLITE_TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
        op.execute("DROP TABLE jobs_text")
    else:
        op.execute("DROP TRIGGER jobs_followed ON jobs")
        op.execute("DROP FUNCTION tunesmith_follow_jobs()")
        op.execute("DROP INDEX IF EXISTS ix_jobs_search_text_trigrams")
    op.drop_table("job_metadata")
    op.drop_table("job_counts")
    for name, (table, _, _) in PARTIAL.items():
        op.drop_index(name, table_name=table)
    for table, indexes in INDEXES.items():
        for columns in indexes:
            op.drop_index(_name(table, columns), table_name=table)
    for table, indexes in SUPERSEDED.items():
        for columns in indexes:
            op.create_index(_name(table, columns), table, list(columns))


def _name(table: str, columns: Columns) -> str:
    return op.f(f"ix_{table}_{'_'.join(columns)}")


def _follow_jobs() -> None:
    parts = _statements(op.get_bind().dialect.name)
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE jobs_text "
            "USING fts5(search_text, tokenize='trigram case_sensitive 1')"
        )
        for name, (event, body) in SQLITE_TRIGGERS.items():
            when = SQLITE_CHANGED.get(name, "")
            statements = body.format(**parts)
            op.get_bind().exec_driver_sql(
                f"CREATE TRIGGER {name} AFTER {event} ON jobs {when} BEGIN {statements} END"
            )
        return
    op.get_bind().exec_driver_sql(POSTGRES_FUNCTION.format(**parts))
    op.execute(
        "CREATE TRIGGER jobs_followed "
        "AFTER INSERT OR DELETE OR UPDATE OF status, base_model, metadata ON jobs "
        "FOR EACH ROW EXECUTE FUNCTION tunesmith_follow_jobs()"
    )
    _index_trigrams()


def _statements(dialect: str) -> dict[str, str]:
    pairs = _PAIRS[dialect]
    pair_new = f"""
        INSERT INTO job_metadata (organization_id, key, value, job_seq)
        SELECT new.organization_id, pair.key, pair.value, new.seq
        FROM {pairs}(new.metadata) AS pair
        WHERE CAST(new.metadata AS TEXT) <> 'null';
    """
    pair_old = f"""
        DELETE FROM job_metadata
        WHERE organization_id = old.organization_id AND job_seq = old.seq
        AND (key, value) IN (SELECT pair.key, pair.value FROM {pairs}(old.metadata) AS pair);
    """
    if dialect == "postgresql":  # which will not take a null apart
        pair_new = f"IF json_typeof(new.metadata) = 'object' THEN {pair_new} END IF;"
        pair_old = f"IF json_typeof(old.metadata) = 'object' THEN {pair_old} END IF;"
    return {
        "count_new": COUNT_NEW,
        "count_old": COUNT_OLD,
        "pair_new": pair_new,
        "pair_old": pair_old,
        "text_new": "INSERT INTO jobs_text (rowid, search_text) VALUES (new.seq, new.search_text);",
        "text_old": "DELETE FROM jobs_text WHERE rowid = old.seq;",
    }


def _index_trigrams() -> None:
    """Without the extension, which is not installed everywhere, searches read all names."""
    there = "SELECT 1 FROM pg_available_extensions WHERE name = 'pg_trgm'"
    if op.get_bind().exec_driver_sql(there).scalar() is None:
        return
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    op.execute(
        "CREATE INDEX ix_jobs_search_text_trigrams ON jobs USING gin (search_text gin_trgm_ops)"
    )


def _fill_in() -> None:
    """For the jobs that are there already."""
    op.execute(
        "INSERT INTO job_counts SELECT organization_id, status, base_model, COUNT(*) "
        "FROM jobs GROUP BY organization_id, status, base_model"
    )
    dialect = op.get_bind().dialect.name
    is_object = {"sqlite": "json_type(metadata)", "postgresql": "json_typeof(metadata)"}[dialect]
    op.execute(
        "INSERT INTO job_metadata (organization_id, key, value, job_seq) "
        "SELECT marked.organization_id, pair.key, pair.value, marked.seq "
        f"FROM (SELECT * FROM jobs WHERE {is_object} = 'object') AS marked, "
        f"{_PAIRS[dialect]}(marked.metadata) AS pair"
    )
    if dialect == "sqlite":
        op.execute("INSERT INTO jobs_text (rowid, search_text) SELECT seq, search_text FROM jobs")
