"""What lists cost among a thousand rows and among a million: p50, p99 and their ratio.

    python -m benchmarks.api.lists --folder /tmp/lists [--postgres postgresql+psycopg://…/postgres]

Each request goes through the whole application, without a network; small and large take turns.
`--fill` makes the rows and asks nothing, for a machine that is not quiet yet.
"""

import argparse
import asyncio
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import sqlalchemy as sa

from benchmarks.api.filling import Filling
from tunesmith import app as application
from tunesmith.cli import logs
from tunesmith.dialects import openai
from tunesmith.domain.ids import to_base36
from tunesmith.settings import Settings

KEY = "a-key-for-benchmarks-0123456789"
SMALL = (1000, 1000)
DEEP = 10_000  # an offset, where there are so many


@dataclass(frozen=True, slots=True)
class Installation:
    client: httpx.AsyncClient
    num_jobs: int
    long_job: UUID


def requests(num_jobs: int, long_job: UUID, deep_job: UUID) -> dict[str, str]:
    """By what they ask for. `deep_job` is in the middle of the list."""
    jobs, mine = "/api/v1/fine-tuning/jobs", _platform_id
    v1 = f"/v1/fine_tuning/jobs/{openai.translate.outer_id('ftjob-', long_job)}"
    deep = openai.translate.outer_id("ftjob-", deep_job)
    asked = {
        "newest jobs": f"{jobs}",
        "stats": "/api/v1/fine-tuning/stats",
        "page deep down, by cursor": f"{jobs}?after={mine(deep_job)}",
        f"page at offset {DEEP:,}": f"{jobs}?offset={min(DEEP, num_jobs - 100)}",
        "page in the middle, by offset": f"{jobs}?offset={num_jobs // 2}",
        "failed": f"{jobs}?status=failed",
        "running (one in a thousand)": f"{jobs}?status=running",
        "queued (of four states)": f"{jobs}?status=queued",
        "of a base model": f"{jobs}?baseModel=base-3",
        "failed, of a base model, by name": f"{jobs}?status=failed&baseModel=base-3&sort=name:asc",
        "search, rare word": f"{jobs}?search=needle",
        "search, common word": f"{jobs}?search=support",
        "search, common word, failed": f"{jobs}?search=support&status=failed",
        "search, two letters": f"{jobs}?search=bo",
        "OpenAI: newest jobs": "/v1/fine_tuning/jobs",
        "OpenAI: page deep down": f"/v1/fine_tuning/jobs?after={deep}",
        "OpenAI: by metadata, common": "/v1/fine_tuning/jobs?metadata[team]=t3",
        "OpenAI: by metadata, one": f"/v1/fine_tuning/jobs?metadata[run]=r{num_jobs // 2}",
        "OpenAI: without metadata": "/v1/fine_tuning/jobs?metadata=null",
        "one job": f"{jobs}/{mine(long_job)}",
        "OpenAI: newest events": f"{v1}/events",
        "OpenAI: checkpoints": f"{v1}/checkpoints",
        "last log lines": f"{jobs}/{mine(long_job)}/logs",
        "log lines since the last": f"{jobs}/{mine(long_job)}/logs?since=2100-01-01T00:00:00Z",
        "metrics, thinned": f"{jobs}/{mine(long_job)}/metrics",
    }
    for order in ("createdAt", "updatedAt", "startedAt", "finishedAt", "name", "status"):
        asked[f"sorted by {order}, up"] = f"{jobs}?sort={order}:asc"
        asked[f"sorted by {order}, down"] = f"{jobs}?sort={order}:desc"
    asked["sorted by baseModel"] = f"{jobs}?sort=baseModel:asc"
    asked["sorted by trainedTokens"] = f"{jobs}?sort=trainedTokens:desc"
    return asked


def _platform_id(job: UUID) -> str:
    return f"ftjob_{to_base36(job)}"


def installed(folder: Path, server: str | None, num_jobs: int, num_points: int) -> Installation:
    """Filled, unless an earlier run has."""
    url = f"sqlite:///{folder.resolve() / 'tunesmith.db'}"
    if server is not None:
        name = f"tunesmith_lists_{num_jobs}"
        url = sa.make_url(server).set(database=name).render_as_string(hide_password=False)
        _create_database(server, name)
    settings = Settings.model_validate(
        {"data_dir": folder, "database_url": url, "admin_key": KEY, "log_level": "error"}
    )
    built = application.build(settings)
    engine = sa.create_engine(url)
    if server is None:
        sa.event.listen(engine, "connect", _in_memory)
    known = folder / f"long-job-{'postgres' if server else 'sqlite'}"
    if not known.exists():
        started = time.perf_counter()
        known.write_text(str(Filling(engine).fill(num_jobs, num_points)))
        print(
            f"{num_jobs:,} jobs and {num_points:,} points in {time.perf_counter() - started:.0f} s"
        )
    engine.dispose()
    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app=built.asgi),
        base_url="http://here",
        headers={"Authorization": f"Bearer {KEY}"},
    )
    return Installation(client, num_jobs, UUID(known.read_text()))


def _in_memory(connection: Any, _record: Any) -> None:
    """Filling may be lost in a crash, and goes through indexes in no order."""
    connection.execute("PRAGMA synchronous=OFF")
    connection.execute("PRAGMA cache_size=-4000000")


def _create_database(url: str, name: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        query = sa.text("SELECT 1 FROM pg_database WHERE datname = :name")
        if connection.execute(query, {"name": name}).scalar() is None:
            connection.execute(sa.text(f'CREATE DATABASE "{name}"'))
    engine.dispose()


async def middle_of(installation: Installation) -> UUID:
    path = f"/v1/fine_tuning/jobs?metadata[run]=r{installation.num_jobs // 2}"
    answer = await installation.client.get(path)
    return openai.translate.inner_id("job", answer.json()["data"][0]["id"])


async def ask(installation: Installation, path: str) -> float:
    started = time.perf_counter()
    answer = await installation.client.get(path)
    taken = time.perf_counter() - started
    assert answer.status_code == 200, (path, answer.text)
    return taken * 1000


async def compare(small: Installation, large: Installation, repeats: int) -> float:
    """Prints a table; the largest ratio of medians."""
    paths = [requests(i.num_jobs, i.long_job, await middle_of(i)) for i in (small, large)]
    sizes = f"p50, p99 of {small.num_jobs:,} | p50, p99 of {large.num_jobs:,}"
    print(f"| milliseconds | {sizes} | ratios |\n|---|---|---|---|")
    worst = 0.0
    for what in paths[0]:
        taken: tuple[list[float], list[float]] = ([], [])
        for repeat in range(repeats + 3):
            for place, installation in enumerate((small, large)):
                one = await ask(installation, paths[place][what])
                if repeat >= 3:
                    taken[place].append(one)
        p50s = [statistics.median(times) for times in taken]
        p99s = [sorted(times)[int(len(times) * 0.99)] for times in taken]
        ratios = p50s[1] / p50s[0], p99s[1] / p99s[0]
        worst = max(worst, ratios[0])
        print(
            f"| {what} | {p50s[0]:.2f}, {p99s[0]:.2f} | {p50s[1]:.2f}, {p99s[1]:.2f} "
            f"| {ratios[0]:.2f}, {ratios[1]:.2f} |",
            flush=True,
        )
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--postgres", help="a server's URL, for whose superuser databases are made")
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--fill", action="store_true")
    given = parser.parse_args()
    logs.set_up("error")
    small = installed(given.folder / "small", given.postgres, *SMALL)
    large = installed(given.folder / "large", given.postgres, given.jobs, given.points)
    if given.fill:
        return
    worst = asyncio.run(compare(small, large, given.repeats))
    print(f"largest ratio of medians: {worst:.2f}")


if __name__ == "__main__":
    main()
