"""Each list, filter, search and page goes by an index: by its plans, and by the steps it takes.

The requests are those of `benchmarks.api.lists`: one that is added there is looked at here.
"""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.api.lists import Installation, ask, installed, middle_of, requests
from tunesmith.store import job_search

SMALL, LARGE = 1000, 4000  # jobs
MANY = ("jobs", "events", "job_metadata", "jobs_text")  # tables that grow with the jobs
BY_OFFSET = {"page in the middle, by offset", "page at offset 10,000"}  # they skip, in an index
STEPS_OF_FEW_ROWS = 5000  # of SQLite's machine; to read all rows takes twelve thousand and more

Statement = tuple[str, Any]


@pytest.fixture(scope="module", autouse=True)
def _few() -> Iterator[None]:
    """A thousand jobs are many here."""
    patch = pytest.MonkeyPatch()
    patch.setattr(job_search, "FEW", 100)
    yield
    patch.undo()


def filled(folder: Path, server: str | None, num_jobs: int) -> Installation:
    return installed(folder, server, num_jobs, 4 * num_jobs)  # figures are thinned in both


def asked(installation: Installation) -> dict[str, str]:
    deep = asyncio.run(middle_of(installation))
    return requests(installation.num_jobs, installation.long_job, deep)


@contextmanager
def listened() -> Iterator[list[tuple[sa.Engine, Statement]]]:
    """What is read meanwhile, by whatever engine."""
    heard: list[tuple[sa.Engine, Statement]] = []

    def hear(
        connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            heard.append((connection.engine, (statement, parameters)))

    sa.event.listen(sa.Engine, "before_cursor_execute", hear)
    try:
        yield heard
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", hear)


def explained(
    installation: Installation, explain: Callable[[sa.Connection, Statement], list[str]]
) -> list[str]:
    """What is wrong with the plans of all requests, by their names."""
    wrong = []
    for name, path in asked(installation).items():
        with listened() as heard:
            asyncio.run(ask(installation, path))
        assert heard, name
        for engine, statement in heard:
            with engine.connect() as connection:
                found = explain(connection, statement)
            wrong += [f"{name}: {one}\n  {statement[0]}" for one in found]
    return wrong


def sqlite_scans(connection: sa.Connection, statement: Statement) -> list[str]:
    query, parameters = statement
    rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {query}", parameters)
    details = [str(row[-1]) for row in rows]
    scans = [d for d in details if d.startswith("SCAN") and d.split()[1] in MANY]
    return [d for d in scans if "VIRTUAL" not in d]


def postgres_scans(connection: sa.Connection, statement: Statement) -> list[str]:
    """As it would go about it with a million rows: of so few it reads all, and is right to.

    Of a text that one job in fifty has, too, for the few that are wanted; so it is told not to.
    """
    query, parameters = statement
    connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
    connection.exec_driver_sql(
        "UPDATE pg_class SET reltuples = 1000000 WHERE relkind = 'r' AND relname = ANY(%s) "
        "OR oid IN (SELECT indexrelid FROM pg_index "
        "JOIN pg_class AS indexed ON indexed.oid = indrelid WHERE indexed.relname = ANY(%s))",
        (list(MANY), list(MANY)),
    )
    (plan,) = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {query}", parameters).scalar_one()
    connection.rollback()
    return [json.dumps(node)[:300] for node in nodes(plan["Plan"]) if reads_all(node)]


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {name: value for name, value in plan.items() if name != "Plans"}
    for inner in plan.get("Plans", ()):
        yield from nodes(inner)


def reads_all(node: dict[str, Any]) -> bool:
    if node.get("Relation Name") not in MANY:
        return False
    kind = node["Node Type"]
    return kind == "Seq Scan" or ("Index" in kind and "Index Cond" not in node)


def test_no_plan_reads_a_whole_table_in_sqlite(tmp_path: Path) -> None:
    assert explained(filled(tmp_path, None, SMALL), sqlite_scans) == []


def test_no_plan_reads_a_whole_table_in_postgres(tmp_path: Path, postgres_url: str) -> None:
    assert explained(filled(tmp_path, postgres_url, SMALL), postgres_scans) == []


def test_a_plan_that_reads_all_is_seen(tmp_path: Path) -> None:
    filled(tmp_path, None, SMALL)
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'tunesmith.db'}")
    with engine.connect() as connection:
        assert sqlite_scans(connection, ("SELECT * FROM jobs WHERE seed = 3", ()))
    engine.dispose()


def test_four_times_the_jobs_cost_no_more_steps(tmp_path: Path) -> None:
    """Counted and not timed: a scan or a sort of all rows would take four times as many."""
    small, large = (filled(tmp_path / str(n), None, n) for n in (SMALL, LARGE))
    of_small, of_large = (steps(each) for each in (small, large))
    dear = {
        name: (of_small[name], of_large[name])
        for name in of_small.keys() - BY_OFFSET
        if of_large[name] > 1.5 * of_small[name] + STEPS_OF_FEW_ROWS
    }
    assert dear == {}


def steps(installation: Installation) -> dict[str, int]:
    """Of SQLite's virtual machine, for each request."""
    taken: dict[str, int] = {}
    count = 0

    def step() -> int:
        nonlocal count
        count += 1
        return 0

    def watch(connection: sqlite3.Connection, *_: Any) -> None:
        connection.set_progress_handler(step, 1)

    sa.event.listen(sa.Engine, "checkout", watch)
    try:
        for name, path in asked(installation).items():
            asyncio.run(ask(installation, path))  # the first of its kind prepares things
            count = 0
            asyncio.run(ask(installation, path))
            taken[name] = count
    finally:
        sa.event.remove(sa.Engine, "checkout", watch)
    assert all(taken.values())
    return taken
