"""What a created job, a placed one and a fair pick cost: `python -m benchmarks.queue`.

CPU time of this process, and the time that commits wait for the disk besides.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tests import postgres
from tests.factories import NOW, base_model, context, file, job, organization, registration
from tunesmith.domain import fair_share
from tunesmith.domain.accounts import Organization
from tunesmith.domain.jobs import NewJob, Task
from tunesmith.services import jobs, scheduling
from tunesmith.services.context import House
from tunesmith.store import queue_tables, tables
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database


def measured(action: Callable[[], Any], times: int) -> str:
    """Medians of a run, in milliseconds."""
    cpu, wall = [], []
    for _ in range(times):
        began = time.process_time(), time.perf_counter()
        action()
        cpu.append(1000 * (time.process_time() - began[0]))
        wall.append(1000 * (time.perf_counter() - began[1]))
    return f"{statistics.median(cpu):6.2f} ms of CPU, {statistics.median(wall):6.2f} ms in all"


def measure(database: Database, folder: Path, num_queued: int, num_owners: int) -> None:
    sampler: Any = None
    house = House(blobs=Blobs(folder), sampler=sampler, now=lambda: NOW)
    owners = [organization(f"org-{number}") for number in range(num_owners)]
    box = registration()
    with database.write() as store:
        store.models.put_base(base_model())
        for owner in owners:
            store.accounts.add_organization(owner)
        scheduling.register(store, box, NOW)
        files = [file(owner) for owner in owners]
        for one in files:
            store.files.add(one)

    def create(number: int = 0) -> None:
        new = NewJob(base_model="base", training_file_id=files[number].id)
        with database.write() as store:
            jobs.create(context(store, house, owners[number]), new)

    def commit() -> None:
        with database.write() as store:
            store.shares.put_quota(owners[0].id, store.shares.get_quota(owners[0].id))

    def pick() -> None:
        with database.read() as store:
            system_time = store.shares.find_time()
            candidates = store.queue.list_candidates(NOW, tuple(Task))
            known = store.shares.standings({c.organization_id for c in candidates}, NOW)
            assert fair_share.choose(candidates, known, system_time, (), NOW)

    def place() -> None:
        with database.write() as store:
            assert scheduling.lease(store, box, NOW) is not None

    print("  a created job ", measured(create, 100))
    print("  a small commit", measured(commit, 100))
    _fill(database, owners, num_queued)
    print(f"  {num_queued:,} jobs of {num_owners} organizations wait:")
    print("  a fair pick   ", measured(pick, 30))
    print("  a placed job  ", measured(place, 30))


def _fill(database: Database, owners: list[Organization], num_queued: int) -> None:
    """Copies of a job that waits for training, organization after organization."""
    template = job(owners[0])
    with database.write() as store:
        store.jobs.add(template)
        store.queue.push(template, Task.TRAIN, NOW)
        connection = store.queue._connection
        for table, name in ((tables.jobs, "id"), (queue_tables.queue, "job_id")):
            found = connection.execute(sa.select(table).where(table.c[name] == template.id))
            row = {key: value for key, value in found.mappings().one().items() if key != "seq"}
            copies = [
                row | {name: UUID(int=number), "organization_id": owners[number % len(owners)].id}
                for number in range(num_queued)
            ]
            connection.execute(sa.insert(table), copies)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=10_000)
    parser.add_argument("--organizations", type=int, default=200)
    parser.add_argument("--folder", type=Path, help="on the disk to measure")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        print("SQLite")
        _on(f"sqlite:///{folder / 'tunesmith.db'}", folder, arguments)
        binaries = postgres.find_binaries()
        if binaries is not None:
            with postgres.running(binaries) as url:
                print("PostgreSQL, without waiting for its disk")
                _on(url, folder, arguments)


def _on(url: str, folder: Path, arguments: argparse.Namespace) -> None:
    database = Database(url)
    database.upgrade()
    measure(database, folder / "blobs", arguments.queued, arguments.organizations)
    database.close()


if __name__ == "__main__":
    main()
