from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from tests.factories import NOW, Clock, artifact, base_model, context, file, job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import DiskFull, InvalidRequest, NotFound, WrongState
from tunesmith.domain.events import EventKind
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.jobs import JobStatus, NewJob
from tunesmith.domain.models import WHOLE_MODEL_FILE, TunedModel
from tunesmith.domain.paging import PageRequest
from tunesmith.services import files, jobs, scheduling
from tunesmith.services.context import Context, House
from tunesmith.store.blobs import Blobs
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


def test_what_is_asked_for_again_by_the_same_key_is_made_once(
    ctx: Context, new: NewJob, owner: Organization, clock: Clock
) -> None:
    first = jobs.create(ctx, new)
    assert jobs.create_once(ctx, new) == first
    other_key = context(ctx.store, ctx.house, owner)
    assert jobs.create_once(other_key, new) != first
    assert jobs.create_once(ctx, replace(new, suffix="other")) != first
    clock.advance(jobs.REPEATED_WITHIN_SECONDS + 1)
    assert jobs.create_once(ctx, new) != first


def test_a_job_that_goes_on_from_a_tuned_model_keeps_that_models_bytes(
    ctx: Context, new: NewJob, blobs: Blobs
) -> None:
    parent = tuned_model(ctx, blobs)
    job = jobs.create(ctx, replace(new, initial_model=parent))
    assert job.initial_model == parent
    ctx.store.models.delete_tuned(parent.id)
    assert parent.artifacts[0].blob.sha256 in ctx.store.files.blobs_in_use()


def test_a_strangers_tuned_model_is_no_model_to_go_on_from(
    ctx: Context, new: NewJob, blobs: Blobs
) -> None:
    theirs = replace(tuned_model(ctx, blobs), organization_id=uuid4())
    with pytest.raises(InvalidRequest) as refused:
        jobs.create(ctx, replace(new, initial_model=theirs))
    assert refused.value.code == "model_not_available"


def test_a_worker_is_given_the_method_and_the_adapter_to_go_on_from(
    ctx: Context, new: NewJob, blobs: Blobs
) -> None:
    parent = tuned_model(ctx, blobs)
    jobs.create(ctx, replace(new, initial_model=parent, method=Method.DPO))
    box = registration()
    scheduling.register(ctx.store, box, NOW)
    assignment = scheduling.lease(ctx.store, box, NOW)
    assert assignment is not None
    assert (assignment.method, assignment.initial_adapter) == (Method.DPO, parent.artifacts)


def test_what_goes_on_from_a_whole_model_has_it_for_its_base(
    ctx: Context, new: NewJob, blobs: Blobs
) -> None:
    adapter = tuned_model(ctx, blobs)
    config = replace(adapter.artifacts[0], name=WHOLE_MODEL_FILE)
    whole = replace(adapter, artifacts=(*adapter.artifacts, config))
    all_weights = replace(new.hyperparameters, trains_all_weights=True)
    for parent, asked in ((whole, new.hyperparameters), (adapter, all_weights)):
        with pytest.raises(InvalidRequest) as refused:
            jobs.create(ctx, replace(new, initial_model=parent, hyperparameters=asked))
        assert refused.value.param == "model"
    jobs.create(ctx, replace(new, initial_model=whole, hyperparameters=all_weights))
    box = registration()
    scheduling.register(ctx.store, box, NOW)
    assignment = scheduling.lease(ctx.store, box, NOW)
    assert assignment is not None
    assert assignment.initial_adapter == ()
    assert assignment.base_model.artifacts == whole.artifacts
    assert whole.short_id in assignment.base_model.name


def tuned_model(ctx: Context, blobs: Blobs) -> TunedModel:
    earlier = job(ctx.organization)
    ctx.store.jobs.add(earlier)
    made = TunedModel(
        id=uuid4(),
        short_id="abcd1234",
        organization_id=ctx.owner,
        organization_slug=ctx.organization.slug,
        job_id=earlier.id,
        base_model="base",
        suffix=None,
        step=None,
        artifacts=(artifact(blobs),),
        created_at=ctx.now(),
    )
    ctx.store.models.add_tuned(made)
    return made


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


def test_a_job_is_reproduced_from_its_own_bytes_when_its_file_is_gone(
    ctx: Context, new: NewJob, owner: Organization
) -> None:
    done = job(owner, JobStatus.SUCCEEDED, metadata={"a": "b"}, request_digest="abc")
    ctx.store.jobs.add(done)
    again = jobs.reproduce(ctx, done.id)
    assert again.id != done.id
    assert (again.status, again.attempt) == (JobStatus.VALIDATING, 0)
    for same in ("base_model", "training_file", "hyperparameters", "seed", "method"):
        assert getattr(again, same) == getattr(done, same)
    assert (again.metadata, again.request_digest) == (None, None)
    box = registration()
    scheduling.register(ctx.store, box, NOW)
    leased = scheduling.lease(ctx.store, box, NOW)
    assert leased is not None
    assert (leased.job_id, leased.training_file) == (again.id, done.training_file.blob)


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.SUCCEEDED])
def test_only_what_has_succeeded_is_reproduced(
    ctx: Context, owner: Organization, status: JobStatus
) -> None:
    unfinished = job(owner, status)
    ctx.store.jobs.add(unfinished)
    with pytest.raises(WrongState, match="cannot be reproduced"):
        jobs.reproduce(ctx, unfinished.id)


def test_no_job_begins_where_the_disk_is_nearly_full(
    ctx: Context, new: NewJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctx.house.blobs, "min_free_bytes", 2**80)
    with pytest.raises(DiskFull, match="disk of the server is full"):
        jobs.create(ctx, new)
