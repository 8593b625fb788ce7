from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import NOW, file, job, organization
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import NotFound
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.jobs import JobFilter
from tunesmith.domain.paging import PageRequest
from tunesmith.store.database import Database


@pytest.fixture
def owner(database: Database) -> Organization:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
    return made


def add_files(database: Database, owner: Organization, count: int) -> list[UUID]:
    made = [file(owner) for _ in range(count)]
    with database.write() as store:
        for one in made:
            store.files.add(one)
    return [one.id for one in made]


def read_to_the_end(
    database: Database, owner: Organization, *, ascending: bool, grow: bool = False
) -> list[UUID]:
    seen: list[UUID] = []
    has_more = True
    while has_more:
        after = seen[-1] if seen else None
        with database.read() as store:
            request = PageRequest(limit=3, after=after, ascending=ascending)
            page = store.files.list_page(owner.id, request, NOW)
        seen += [item.id for item in page.items]
        has_more = page.has_more
        if grow and len(seen) < 10:
            add_files(database, owner, 1)
    return seen


@pytest.mark.parametrize("count", [0, 1, 3, 7])
@pytest.mark.parametrize("ascending", [True, False])
def test_pages_show_everything_once_in_order(
    database: Database, owner: Organization, count: int, ascending: bool
) -> None:
    made = add_files(database, owner, count)
    seen = read_to_the_end(database, owner, ascending=ascending)
    assert seen == (made if ascending else made[::-1])


def test_what_is_added_meanwhile_disturbs_no_reader_of_older_pages(
    database: Database, owner: Organization
) -> None:
    made = add_files(database, owner, 8)
    assert read_to_the_end(database, owner, ascending=False, grow=True) == made[::-1]


def test_oldest_first_meets_what_is_added_meanwhile(
    database: Database, owner: Organization
) -> None:
    made = add_files(database, owner, 8)
    seen = read_to_the_end(database, owner, ascending=True, grow=True)
    assert seen[:8] == made
    assert len(seen) == len(set(seen)) > 8


def test_an_unknown_cursor_is_not_found(database: Database, owner: Organization) -> None:
    with database.read() as store, pytest.raises(NotFound) as refused:
        store.files.list_page(owner.id, PageRequest(limit=3, after=uuid4()), NOW)
    assert refused.value.param == "after"


def test_a_cursor_of_somebody_else_is_not_found(database: Database, owner: Organization) -> None:
    other = organization("other")
    with database.write() as store:
        store.accounts.add_organization(other)
    (theirs,) = add_files(database, other, 1)
    with database.read() as store, pytest.raises(NotFound):
        store.files.list_page(owner.id, PageRequest(limit=3, after=theirs), NOW)


def test_files_can_be_listed_by_purpose(database: Database, owner: Organization) -> None:
    results = file(owner, purpose=FilePurpose.RESULTS)
    add_files(database, owner, 2)
    with database.write() as store:
        store.files.add(results)
    with database.read() as store:
        page = store.files.list_page(owner.id, PageRequest(limit=9), NOW, FilePurpose.RESULTS)
    assert page.items == (results,)


def found(database: Database, owner: Organization, **asked: Any) -> list[dict[str, str] | None]:
    with database.read() as store:
        page = store.jobs.list_page(owner.id, PageRequest(limit=9), JobFilter(**asked))
    return [job.metadata for job in page.items]


def test_jobs_can_be_listed_by_all_of_their_metadata(
    database: Database, owner: Organization
) -> None:
    wanted = {"team": "red", "run": "1"}
    with database.write() as store:
        for metadata in (wanted, {"team": "red"}, {"team": "blue", "run": "1"}, None):
            store.jobs.add(job(owner, metadata=metadata))
    assert found(database, owner, metadata=tuple(wanted.items())) == [wanted]
    assert found(database, owner, metadata=(("team", "red"), ("team", "blue"))) == []


def test_jobs_without_metadata_can_be_listed(database: Database, owner: Organization) -> None:
    with database.write() as store:
        for metadata in (None, {"null": "null"}, {}, {"team": ""}):
            store.jobs.add(job(owner, metadata=metadata))
    assert found(database, owner, has_no_metadata=True) == [{}, None]
    assert found(database, owner, metadata=(("team", ""),)) == [{"team": ""}]


@pytest.mark.parametrize(
    "key",
    ["a.b.c[0]$", 'a"b', "a'b", "a\\b", "\\", '"', "0", "[0]", "$", "%", "", "é\u2028", "a\tb"],
)
def test_metadata_keys_are_names_and_not_paths(
    database: Database, owner: Organization, key: str
) -> None:
    with database.write() as store:
        store.jobs.add(job(owner, metadata={key: key}))
        store.jobs.add(job(owner, metadata={"a": key}))
    assert found(database, owner, metadata=((key, key),)) == [{key: key}]
    assert found(database, owner, metadata=((key + "x", key),)) == []
