"""Run by Alembic: migrates the connection that `Database.upgrade` hands over."""

from alembic import context

import tunesmith.store.derived  # noqa: F401  # so that the metadata has its tables, too
from tunesmith.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
