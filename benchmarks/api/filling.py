"""Fills a store with jobs and metric points by the database's own series."""

from dataclasses import dataclass
from uuid import UUID, uuid4

import sqlalchemy as sa

NUM_OTHERS = 20  # organizations beside the large one, which have a tenth of its jobs together
NEEDLES = 20  # jobs whose names have a rare word, however many there are
POINTS_OF_LONG_JOB = 1_000_000  # at most
POINTS_OF_OTHERS = 10_000

_SERIES = {
    "sqlite": "WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {last})"
    " SELECT n FROM s",
    "postgresql": "SELECT generate_series(1, {last}) AS n",
}
_NEW_ID = {"sqlite": "lower(hex(randomblob(16)))", "postgresql": "gen_random_uuid()"}
_JSON = {
    "sqlite": {"json": "(", "end": ")"},
    "postgresql": {"json": "CAST(", "end": " AS json)"},
}
_JOBS = """
INSERT INTO jobs (id, organization_id, base_model, training_file_id, training_sha256,
    training_bytes, hyperparameters, seed, metadata, status, attempt, created_at, finished_at,
    updated_at, started_at, name, search_text, num_trained_tokens, failure, initial_model, progress,
    is_pause_wanted, needs_deployment)
SELECT {new_id}, :owner, 'base-' || (n % 5), {new_id}, 'ab', 1000,
    {json}'{{"num_epochs": 3, "batch_size": 8, "learning_rate_multiplier": 1.0}}'{end}, n,
    {json}'{{"team": "t' || (n % 20) || '", "run": "r' || n || '"}}'{end},
    CASE WHEN n % 1000 = 0 THEN 'running' WHEN n % 100 = 1 THEN 'queued'
         WHEN n % 100 < 5 THEN 'failed' WHEN n % 100 < 7 THEN 'stopped' ELSE 'succeeded' END,
    1, {moment}, CASE WHEN n % 100 > 1 THEN {moment} + 900000000 END, {moment} + 1000000000,
    CASE WHEN n % 100 <> 1 THEN {moment} + 1000 END,
    'Support bot ' || {word} || ' v' || n, 'support bot ' || {word} || ' v' || n || char_of_line,
    n * 37 % 1000003, {json}'null'{end}, {json}'null'{end}, {json}'null'{end}, {no}, {no}
FROM (SELECT n, {line} AS char_of_line FROM ({series}) AS numbers) AS numbered
"""
_EVENTS = """
INSERT INTO events (id, job_id, created_at, kind, level, step, logged_ms, data)
SELECT {new_id}, :job, {moment}, 'step', 'info', n, 1760000000000 + n,
    {json}'{{"step": ' || n || ', "total_steps": 1000000, "train_loss": 1.25, "tokens": 512,'
    || ' "train_token_accuracy": 0.5, "learning_rate": 0.0001, "grad_norm": 1.0}}'{end}
FROM ({series}) AS numbers
"""
_MOMENT = "(CAST(1760000000 AS BIGINT) + n) * 1000000"


@dataclass(frozen=True, slots=True)
class Filling:
    """Statements of one kind of database."""

    engine: sa.Engine

    def fill(self, num_jobs: int, num_points: int) -> UUID:
        """Jobs of the installation's first organization and others; the job with most points."""
        with self.engine.begin() as connection:
            found = connection.execute(sa.text("SELECT id FROM organizations ORDER BY seq LIMIT 1"))
            owner = UUID(str(found.scalar_one()))
        self._add_jobs(owner, num_jobs, num_jobs)
        for number in range(NUM_OTHERS):
            self._add_jobs(self._add_organization(number), num_jobs // 10 // NUM_OTHERS, num_jobs)
        long_job, *others = self._longest(owner, 1 + num_points // POINTS_OF_OTHERS)
        self._add_points(long_job, min(num_points, POINTS_OF_LONG_JOB))
        left = num_points - POINTS_OF_LONG_JOB
        while left > 0:
            self._add_points(others.pop(), min(left, POINTS_OF_OTHERS))
            left -= POINTS_OF_OTHERS
        self._finish()
        return long_job

    @property
    def _dialect(self) -> str:
        return self.engine.dialect.name

    def _id(self, value: UUID) -> object:
        """As the database's driver takes it in plain statements."""
        return value.hex if self._dialect == "sqlite" else value

    def _execute(self, statement: str, **values: object) -> None:
        with self.engine.begin() as connection:
            if self._dialect == "postgresql":
                # One counter's row would be written again for each job, in one transaction.
                connection.execute(sa.text("SET LOCAL session_replication_role = replica"))
            connection.execute(sa.text(statement.replace('": ', '"\\: ')).bindparams(**values))

    def _add_organization(self, number: int) -> UUID:
        made = uuid4()
        self._execute(
            "INSERT INTO organizations (id, name, slug, created_at) VALUES (:id, :name, :name, 0)",
            id=self._id(made),
            name=f"other-{number}",
        )
        return made

    def _add_jobs(self, owner: UUID, count: int, of_all: int) -> None:
        statement = _JOBS.format(
            **_JSON[self._dialect],
            new_id=_NEW_ID[self._dialect],
            moment=_MOMENT,
            word=f"CASE WHEN n % {max(1, of_all // NEEDLES)} = 3 THEN 'needle' ELSE 'plain' END",
            no={"sqlite": "0", "postgresql": "false"}[self._dialect],
            line={"sqlite": "char(10)", "postgresql": "chr(10)"}[self._dialect],
            series=_SERIES[self._dialect].format(last=count),
        )
        self._execute(statement, owner=self._id(owner))

    def _longest(self, owner: UUID, count: int) -> list[UUID]:
        """The newest jobs."""
        query = "SELECT id FROM jobs WHERE organization_id = :owner ORDER BY seq DESC LIMIT :count"
        with self.engine.connect() as connection:
            given = self._id(owner)
            found = connection.execute(sa.text(query), {"owner": given, "count": count})
            return [UUID(str(value)) for value in found.scalars()]

    def _add_points(self, job: UUID, count: int) -> None:
        statement = _EVENTS.format(
            **_JSON[self._dialect],
            new_id=_NEW_ID[self._dialect],
            moment=_MOMENT,
            series=_SERIES[self._dialect].format(last=count),
        )
        self._execute(statement, job=self._id(job))

    def _finish(self) -> None:
        """What triggers keep, where they did not run, and what the planner knows."""
        if self._dialect == "postgresql":
            self._execute(
                "INSERT INTO job_counts SELECT organization_id, status, base_model, COUNT(*) "
                "FROM jobs GROUP BY 1, 2, 3"
            )
            self._execute(
                "INSERT INTO job_metadata SELECT organization_id, pair.key, pair.value, seq "
                "FROM jobs, json_each_text(jobs.metadata) AS pair"
            )
            with self.engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            ) as connection:
                connection.execute(sa.text("VACUUM ANALYZE"))
