"""How the installation is, over all organizations."""

from datetime import datetime

import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from tunesmith.domain.jobs import JobStatus, Task
from tunesmith.store.derived import job_counts, readiness
from tunesmith.store.queue_tables import queue

_CHECK = "check"


class Vitals:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def check_write(self, now: datetime) -> None:
        """Really change a row: a full disk lets transactions begin."""
        changed = sa.update(readiness).where(readiness.c.name == _CHECK).values(checked_at=now)
        if self._connection.execute(changed).rowcount == 0:
            self._connection.execute(sa.insert(readiness).values(name=_CHECK, checked_at=now))

    def is_migrated(self) -> bool:
        """Whether the schema is the one that this version of the code was written for."""
        config = Config()
        config.set_main_option("script_location", "tunesmith:store/migrations")
        config.set_main_option("path_separator", "os")
        head = ScriptDirectory.from_config(config).get_current_head()
        return MigrationContext.configure(self._connection).get_current_revision() == head

    def jobs_by_status(self) -> dict[JobStatus, int]:
        """Every state, also those that no job is in."""
        query = sa.select(job_counts.c.status, sa.func.sum(job_counts.c.count)).group_by(
            job_counts.c.status
        )
        found = {status: int(count) for status, count in self._connection.execute(query)}
        return {status: found.get(status, 0) for status in JobStatus}

    def waiting(self) -> dict[Task, tuple[int, datetime | None]]:
        """How many jobs wait for each task, and since when the first of them could begin."""
        query = (
            sa.select(queue.c.task, sa.func.count(), sa.func.min(queue.c.available_at))
            .where(queue.c.worker.is_(None))
            .group_by(queue.c.task)
        )
        found = {task: (count, since) for task, count, since in self._connection.execute(query)}
        return {task: found.get(task, (0, None)) for task in Task}
