from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.factories import base_model, context, file
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest, NotFound, WrongState
from tunesmith.domain.events import EventKind
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.jobs import JobStatus, NewJob
from tunesmith.domain.paging import PageRequest
from tunesmith.services import files, jobs
from tunesmith.services.context import Context, House
from tunesmith.store.database import Store

EVERYTHING = PageRequest(limit=100, ascending=True)


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, house, owner)


@pytest.fixture
def new(ctx: Context, owner: Organization) -> NewJob:
    training = file(owner)
    ctx.store.files.add(training)
    return NewJob(base_model="base", training_file_id=training.id)


def test_a_new_job_waits_to_be_validated_and_says_so(ctx: Context, new: NewJob) -> None:
    job = jobs.create(ctx, new)
    assert (job.status, job.attempt) == (JobStatus.VALIDATING, 0)
    _, page = jobs.list_events(ctx, job.id, EVERYTHING)
    assert [event.kind for event in page.items] == [EventKind.CREATED, EventKind.VALIDATING]


def test_a_job_is_on_the_model_and_not_on_its_alias(ctx: Context, new: NewJob) -> None:
    ctx.store.models.put_base(base_model(aliases=("gpt-4o-mini",)))
    assert jobs.create(ctx, replace(new, base_model="gpt-4o-mini")).base_model == "base"


def test_an_unknown_model_is_refused_with_what_there_is(ctx: Context, new: NewJob) -> None:
    with pytest.raises(InvalidRequest, match="available: base") as refused:
        jobs.create(ctx, replace(new, base_model="gpt-9"))
    assert (refused.value.param, refused.value.code) == ("model", "model_not_available")


@pytest.mark.parametrize(
    ("param", "change"),
    [
        ("seed", {"seed": -1}),
        ("seed", {"seed": 2**31}),
        ("suffix", {"suffix": ""}),
        ("suffix", {"suffix": "x" * 65}),
    ],
)
def test_what_is_beyond_a_limit_is_refused_by_name(
    ctx: Context, new: NewJob, param: str, change: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        jobs.create(ctx, replace(new, **change))
    assert refused.value.param == param


def test_a_job_without_a_seed_gets_one_that_can_be_used_again(ctx: Context, new: NewJob) -> None:
    assert 0 <= jobs.create(ctx, new).seed <= jobs.MAX_SEED


def test_a_file_for_another_purpose_is_refused_by_name(
    ctx: Context, new: NewJob, owner: Organization
) -> None:
    other = file(owner, purpose=FilePurpose.BATCH)
    ctx.store.files.add(other)
    with pytest.raises(InvalidRequest) as refused:
        jobs.create(ctx, replace(new, validation_file_id=other.id))
    assert refused.value.param == "validation_file"


def test_a_file_that_is_not_there_is_not_found(ctx: Context, new: NewJob) -> None:
    with pytest.raises(NotFound):
        jobs.create(ctx, replace(new, training_file_id=uuid4()))


def test_deleting_a_file_does_not_disturb_its_jobs(ctx: Context, new: NewJob) -> None:
    job = jobs.create(ctx, new)
    files.delete(ctx, new.training_file_id)
    assert job.training_file.blob.sha256 in ctx.store.files.blobs_in_use()


def test_a_stopped_job_cannot_be_stopped_again(ctx: Context, new: NewJob) -> None:
    job = jobs.create(ctx, new)
    assert jobs.stop(ctx, job.id).status is JobStatus.STOPPED
    with pytest.raises(WrongState):
        jobs.stop(ctx, job.id)
