"""Lists find, sort and count as before, by indexes alone and by what triggers keep."""

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
import sqlalchemy as sa

from tests.factories import NOW, job, metrics, organization
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import NotFound
from tunesmith.domain.events import Event, EventKind
from tunesmith.domain.jobs import Job, JobFilter, JobOrder, JobSearch, JobStatus
from tunesmith.domain.paging import PageRequest
from tunesmith.store import job_search
from tunesmith.store.database import Database

STATUSES = (JobStatus.QUEUED, JobStatus.RUNNING, JobStatus.STOPPED)
GROUPS = tuple(frozenset({status}) for status in JobStatus)


@pytest.fixture(params=[False, True], ids=["gathered", "walked"])
def _walks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading a list, on few rows."""
    if request.param:
        monkeypatch.setattr(job_search, "FEW", 0)


@pytest.fixture
def owner(database: Database) -> Organization:
    made, other = organization(), organization("other")
    with database.write() as store:
        store.accounts.add_organization(made)
        store.accounts.add_organization(other)
        for number in range(30):
            at = NOW + timedelta(seconds=number // 2)  # so that some are equal
            store.jobs.add(
                job(
                    made,
                    STATUSES[number % 3],
                    name=f"job {number:02d}",
                    base_model=f"base-{number % 2}",
                    created_at=at,
                    started_at=at if number % 4 else None,
                    metadata={"number": str(number % 5), "all": "yes"} if number % 7 else None,
                )
            )
        store.jobs.add(job(other, name="job 07", metadata={"all": "yes"}))
    return made


def all_jobs(database: Database, owner: Organization) -> list[Job]:
    with database.read() as store:
        return list(store.jobs.list_page(owner.id, PageRequest(limit=100)).items)


def sorted_by(found: list[Job], order: JobOrder, ascending: bool) -> list[Job]:
    """As the documentation says it: what has no value last, ids between equals."""
    having = [j for j in found if getattr(j, order.value) is not None]
    lacking = [j for j in found if getattr(j, order.value) is None]
    if order is JobOrder.STATUS:
        rank = {status: number for number, status in enumerate(JobStatus)}
        having.sort(key=lambda j: rank[j.status] * (1 if ascending else -1))
        parts = [
            [j for j in having if j.status is s] for s in dict.fromkeys(h.status for h in having)
        ]
        return [j for part in parts for j in sorted(part, key=_id, reverse=not ascending)]
    having.sort(key=lambda j: (getattr(j, order.value), _id(j)), reverse=not ascending)
    return having + sorted(lacking, key=_id, reverse=not ascending)


def _id(job: Job) -> str:
    return job.id.hex


@pytest.mark.usefixtures("_walks")
@pytest.mark.parametrize("ascending", [True, False])
@pytest.mark.parametrize("order", JobOrder)
@pytest.mark.parametrize(
    "wanted",
    [
        JobSearch(),
        JobSearch(statuses=frozenset({JobStatus.QUEUED, JobStatus.STOPPED})),
        JobSearch(statuses=frozenset({JobStatus.RUNNING}), base_model="base-1"),
        JobSearch(text="JOB 1"),
    ],
    ids=["all", "statuses", "model", "text"],
)
def test_every_order_of_every_filter_is_the_same_by_offsets_and_by_cursors(
    database: Database, owner: Organization, wanted: JobSearch, order: JobOrder, ascending: bool
) -> None:
    fitting = [
        j
        for j in all_jobs(database, owner)
        if (wanted.statuses is None or j.status in wanted.statuses)
        and (wanted.base_model is None or j.base_model == wanted.base_model)
        and (wanted.text is None or wanted.text.casefold() in j.name)
    ]
    wanted = replace(wanted, order=order, ascending=ascending, statuses_in_order=GROUPS, limit=7)
    expected = [j.id for j in sorted_by(fitting, order, ascending)]
    by_offset: list[UUID] = []
    by_cursor: list[UUID] = []
    with database.read() as store:
        for offset in range(0, 31, 7):
            part = replace(wanted, offset=offset)
            found = store.jobs.search(owner.id, part)
            by_offset += [item.id for item in found.items]
        while True:
            following = replace(wanted, after=by_cursor[-1] if by_cursor else None)
            items = store.jobs.search(owner.id, following).items
            if not items:
                break
            by_cursor += [item.id for item in items]
    assert by_offset == expected
    assert by_cursor == expected


def test_no_list_goes_on_after_somebody_elses_job(database: Database, owner: Organization) -> None:
    stranger = organization("third")
    theirs = job(stranger)
    with database.write() as store:
        store.accounts.add_organization(stranger)
        store.jobs.add(theirs)
        with pytest.raises(NotFound):
            store.jobs.search(owner.id, JobSearch(after=theirs.id))


def test_the_count_of_a_text_that_fits_many_always_leads_on_to_the_last(
    database: Database, owner: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_search, "FEW", 4)
    offset, count = 0, 1
    with database.read() as store:
        while offset < count:
            found = store.jobs.search(owner.id, JobSearch(text="job", offset=offset, limit=3))
            offset, count = offset + len(found.items), found.count
            assert found.items
    assert (offset, count) == (30, 30)


def test_counts_follow_every_way_of_writing_a_job(
    database: Database, database_url: str, owner: Organization
) -> None:
    jobs = all_jobs(database, owner)
    engine = sa.create_engine(database_url)
    with engine.begin() as connection:  # as a statement would that knows nothing of counts
        connection.execute(sa.text("UPDATE jobs SET status = 'paused' WHERE name = 'job 00'"))
    engine.dispose()
    with database.write() as store:
        store.jobs.delete(next(j for j in jobs if j.name == "job 01"))
        counted = store.jobs.count_by_status(owner.id)
    assert counted == {
        JobStatus.PAUSED: 1,
        JobStatus.QUEUED: 9,
        JobStatus.RUNNING: 9,
        JobStatus.STOPPED: 10,
    }


@pytest.mark.parametrize(
    ("pairs", "num_found"),
    [
        ((("all", "yes"),), 25),
        ((("all", "yes"), ("number", "3")), 5),
        ((("number", "3"), ("number", "4")), 0),
        ((("all", "no"),), 0),
    ],
)
def test_jobs_are_found_by_their_metadata(
    database: Database, owner: Organization, pairs: tuple[tuple[str, str], ...], num_found: int
) -> None:
    found: list[Job] = []
    with database.read() as store:
        while True:
            after = found[-1].id if found else None
            request = PageRequest(limit=4, after=after)
            page = store.jobs.list_page(owner.id, request, JobFilter(metadata=pairs))
            found += page.items
            if not page.has_more:
                break
    assert len({j.id for j in found}) == len(found) == num_found
    assert all(pair in (j.metadata or {}).items() for j in found for pair in pairs)


def test_a_deleted_job_leaves_no_words_and_no_metadata(
    database: Database, database_url: str, owner: Organization
) -> None:
    with database.write() as store:
        for its in all_jobs(database, owner):
            store.jobs.delete(its)
        assert store.jobs.search(owner.id, JobSearch(text="job")).count == 0
    engine = sa.create_engine(database_url)
    with engine.connect() as connection:
        left = connection.execute(sa.text("SELECT COUNT(*) FROM job_metadata")).scalar()
    engine.dispose()
    assert left == 1  # the other organization's


def test_figures_are_thinned_evenly_and_the_last_stays(
    database: Database, owner: Organization
) -> None:
    its = all_jobs(database, owner)[0]
    with database.write() as store:
        for step in range(1, 26):
            data = {"step": step, "train_loss": metrics(step).train_loss}
            store.events.add(
                Event(
                    id=UUID(int=step),
                    job_id=its.id,
                    created_at=NOW,
                    kind=EventKind.STEP,
                    step=step,
                    data=data,
                )
            )
        few = [p["step"] for p in store.events.list_metrics_thinned(its.id, 10)]
        every = [p["step"] for p in store.events.list_metrics_thinned(its.id, 25)]
    assert few == [2, 5, 7, 10, 12, 15, 17, 20, 22, 25]
    assert every == list(range(1, 26))
