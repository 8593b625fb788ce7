"""Run by Alembic: migrates the connection that `Database.upgrade` hands over."""

from alembic import context

import tunesmith.store.derived  # so that the metadata has these tables, too
import tunesmith.store.outbox_tables
import tunesmith.store.queue_tables  # noqa: F401
from tunesmith.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by making it anew
)
with context.begin_transaction():
    context.run_migrations()
