from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.factories import NOW, job, organization
from tunesmith.domain.accounts import Organization
from tunesmith.domain.jobs import JobOrder, JobSearch, JobStatus
from tunesmith.store.database import Database


@pytest.fixture
def owner(database: Database) -> Organization:
    made, other = organization(), organization("other")
    with database.write() as store:
        store.accounts.add_organization(made)
        store.accounts.add_organization(other)
        for number in range(6):
            status = JobStatus.QUEUED if number % 2 else JobStatus.STOPPED
            at = NOW + timedelta(seconds=number)
            started_at = at if number < 2 else None
            name = f"job {number}"
            store.jobs.add(job(made, status, name=name, created_at=at, started_at=started_at))
        store.jobs.add(job(other, name="job 7"))
    return made


def names(database: Database, owner: Organization, wanted: JobSearch) -> list[str]:
    with database.read() as store:
        return [found.name[-1] for found in store.jobs.search(owner.id, wanted).items]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (JobSearch(), "543210"),
        (JobSearch(ascending=True, offset=1, limit=2), "12"),
        (JobSearch(statuses=frozenset({JobStatus.QUEUED})), "531"),
        (JobSearch(text="JOB 4"), "4"),
        (JobSearch(base_model="other"), ""),
        (JobSearch(order=JobOrder.NAME, ascending=True), "012345"),
    ],
)
def test_a_search_finds_what_it_asks_for(
    database: Database, owner: Organization, wanted: JobSearch, found: str
) -> None:
    assert names(database, owner, wanted) == list(found)


@pytest.mark.parametrize("ascending", [True, False])
def test_what_has_no_value_comes_last(
    database: Database, owner: Organization, ascending: bool
) -> None:
    wanted = JobSearch(order=JobOrder.STARTED_AT, ascending=ascending)
    assert names(database, owner, wanted)[:2] == (["0", "1"] if ascending else ["1", "0"])


def test_the_count_is_of_all_pages_and_of_nobody_else(
    database: Database, owner: Organization
) -> None:
    with database.read() as store:
        assert store.jobs.search(owner.id, JobSearch(limit=2, offset=4)).count == 6
        counted = store.jobs.count_by_status(owner.id)
    assert counted == {JobStatus.QUEUED: 3, JobStatus.STOPPED: 3}


def test_the_newest_jobs_are_found_without_reading_all(
    database_url: str, database: Database, owner: Organization
) -> None:
    if not database_url.startswith("sqlite"):
        pytest.skip("PostgreSQL plans by the size of a table")
    query = "EXPLAIN QUERY PLAN SELECT * FROM jobs WHERE organization_id = 'x' ORDER BY created_at"
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        plan = " ".join(str(row) for row in connection.exec_driver_sql(query))
    engine.dispose()
    assert "ix_jobs_organization_id_created_at" in plan
    assert "TEMP B-TREE" not in plan
