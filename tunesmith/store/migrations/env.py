"""Run by Alembic: migrates the connection that `Database.upgrade` hands over."""

from alembic import context

from tunesmith.store import derived  # completes the metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=derived.metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
