"""Opening the database, bringing its schema up to date, and transactions.

SQLite belongs to one server process. Writers take a lock before they begin, so none of them ever
waits inside SQLite, and a commit is on disk (`synchronous=FULL`) before it is answered.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from functools import partial
from typing import Any

import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config

from tunesmith.domain.errors import DiskFull, InvalidRequest, Unavailable
from tunesmith.store.accounts import Accounts
from tunesmith.store.adapters import Adapters
from tunesmith.store.audit import Audit
from tunesmith.store.deployments import Deployments
from tunesmith.store.events import Events
from tunesmith.store.files import Files
from tunesmith.store.idempotency import IdempotencyKeys
from tunesmith.store.integrations import Integrations
from tunesmith.store.jobs import Jobs
from tunesmith.store.measurements import Measurements
from tunesmith.store.models import Models
from tunesmith.store.permissions import Permissions
from tunesmith.store.queue import Queue
from tunesmith.store.retention import Retention
from tunesmith.store.shares import Shares
from tunesmith.store.uploads import Uploads
from tunesmith.store.usage import AnswersUsage
from tunesmith.store.vitals import Vitals
from tunesmith.store.webhooks import Webhooks

log = structlog.get_logger()

_WRITES = "tunesmith_writes"
MAX_READERS = 16  # transactions at once beside the one that writes
_SPARE_CONNECTIONS = 4  # for what runs outside requests
PATIENCE_SECONDS = 20.0


class Store:
    """All tables as seen by one transaction."""

    def __init__(self, connection: sa.Connection) -> None:
        self.accounts = Accounts(connection)
        self.files = Files(connection)
        self.uploads = Uploads(connection)
        self.jobs = Jobs(connection)
        self.queue = Queue(connection)
        self.shares = Shares(connection)
        self.events = Events(connection)
        self.models = Models(connection)
        self.measurements = Measurements(connection)
        self.adapters = Adapters(connection)
        self.webhooks = Webhooks(connection)
        self.integrations = Integrations(connection)
        self.permissions = Permissions(connection)
        self.deployments = Deployments(connection)
        self.audit = Audit(connection)
        self.idempotency_keys = IdempotencyKeys(connection)
        self.vitals = Vitals(connection)
        self.retention = Retention(connection)
        self.answers_usage = AnswersUsage(connection)


class Database:
    """`url` is SQLAlchemy's, such as `sqlite:////srv/tunesmith/tunesmith.db`.

    PostgreSQL ends a transaction that is left lying for `patience_seconds`: a server that is
    halted amid a decision holds up the others for no longer, and what it decides comes too late.
    """

    def __init__(self, url: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
        num_connections = MAX_READERS + 1 + _SPARE_CONNECTIONS
        self._engine = sa.create_engine(
            url,
            connect_args=_connect_args(sa.make_url(url), patience_seconds),
            poolclass=sa.QueuePool,
            pool_size=num_connections,
            max_overflow=0,
            pool_use_lifo=True,  # few of them are warm: each has a cache of pages of its own
            json_serializer=partial(json.dumps, ensure_ascii=False),  # keys are found as written
        )
        self._write_lock: Any = nullcontext()
        if self._engine.dialect.name == "sqlite":
            self._write_lock = threading.Lock()
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)

    def upgrade(self) -> None:
        """Apply the migrations that this database has not seen."""
        config = Config()
        config.set_main_option("script_location", "tunesmith:store/migrations")
        config.set_main_option("path_separator", "os")
        with self._write_lock, self._writing_connection() as connection, connection.begin():
            config.attributes["connection"] = connection
            command.upgrade(config, "head")

    @contextmanager
    def write(self) -> Iterator[Store]:
        """A transaction that changes something: committed at the end, rolled back on an error.

        Raises `Unavailable` where the database cannot be used.
        """
        with (
            _trouble_named(),
            self._write_lock,
            self._writing_connection() as connection,
            connection.begin(),
        ):
            yield Store(connection)

    @contextmanager
    def read(self) -> Iterator[Store]:
        """A consistent view that waits for no writer; raises `Unavailable` as `write` does."""
        with _trouble_named(), self._engine.connect() as connection, connection.begin():
            yield Store(connection)

    def time(self) -> datetime | None:
        """By the database's clock; None where it has none but this machine's."""
        if self._engine.dialect.name != "postgresql":
            return None
        with _trouble_named(), self._engine.connect() as connection:
            now: datetime = connection.execute(sa.select(sa.func.clock_timestamp())).scalar_one()
            return now.astimezone(UTC)

    @property
    def answers_at_once(self) -> bool:
        """Whether a few rows come sooner than a thread that would fetch them."""
        return self._engine.dialect.name == "sqlite"

    @property
    def is_shared(self) -> bool:
        """Whether other servers may stand on it, too."""
        return self._engine.dialect.name != "sqlite"

    def close(self) -> None:
        self._engine.dispose()

    def _writing_connection(self) -> sa.Connection:
        return self._engine.connect().execution_options(**{_WRITES: True})


@contextmanager
def _trouble_named() -> Iterator[None]:
    """A full disk or a server that is away is nobody's mistake: it may go well the next time.

    What no column can hold is the asker's, wherever it slipped through.
    """
    try:
        yield
    except (sa.exc.DataError, UnicodeEncodeError, OverflowError) as error:
        log.info("cannot be kept", reason=type(error).__name__)
        raise InvalidRequest("A text or a number in the request cannot be kept.") from error
    except (sa.exc.OperationalError, sa.exc.InternalError, sa.exc.TimeoutError) as error:
        log.exception("database trouble")
        if "database or disk is full" in str(error):
            raise DiskFull("The disk of the database is full; make room and try again.") from error
        raise Unavailable("The database cannot be used just now; try again later.") from error


def _connect_args(url: sa.URL, patience_seconds: float) -> dict[str, Any]:
    if url.get_backend_name() != "postgresql":
        return {}
    patience = int(patience_seconds * 1000)
    given = url.query.get("options", "")
    return {"options": f"{given} -c idle_in_transaction_session_timeout={patience}".strip()}


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.execute("PRAGMA busy_timeout=10000")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    if connection.get_execution_options().get(_WRITES):
        # A deferred transaction that turns to writing fails as busy, whatever the timeout.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:  # by the driver itself: this touches no file, so there is no trouble to name
        connection.connection.cursor().execute("BEGIN")
