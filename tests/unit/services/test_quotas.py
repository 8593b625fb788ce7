"""What an organization may have is kept wherever something is added."""

from dataclasses import asdict, replace
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import (
    NOW,
    Clock,
    context,
    file,
    metrics,
    organization,
    queued_job,
    registration,
)
from tunesmith.domain.accounts import USER_SCOPES, Organization, Scope
from tunesmith.domain.assignments import ReportBatch, StepReported
from tunesmith.domain.errors import InvalidRequest, NotFound, PermissionDenied, QuotaExceeded
from tunesmith.domain.files import Blob, FilePurpose
from tunesmith.domain.jobs import JobStatus, NewJob
from tunesmith.domain.quotas import Quota, Use
from tunesmith.domain.uploads import Completion, NewUpload
from tunesmith.services import files, jobs, leases, quotas, scheduling, uploads
from tunesmith.services.context import Context, House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

BOX = registration("box")


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    scheduling.register(store, BOX, NOW)
    return context(store, house, owner)


def limit(ctx: Context, **limits: object) -> None:
    quotas.change(ctx, str(ctx.owner), limits)


def create(ctx: Context) -> jobs.Job:
    training = file(ctx.organization)
    ctx.store.files.add(training)
    return jobs.create(ctx, NewJob(base_model="base", training_file_id=training.id))


def test_an_organization_has_no_limits_at_first(ctx: Context) -> None:
    nothing = Use(running_jobs=0, queued_jobs=0, stored_bytes=0, tokens_today=0)
    assert quotas.get(ctx, ctx.organization.slug) == (Quota(), nothing)


def test_a_quota_is_what_was_set(ctx: Context) -> None:
    wanted = Quota(
        weight=2.5,
        default_priority=4,
        max_running_jobs=1,
        max_queued_jobs=2,
        max_stored_bytes=2**40,
        max_tokens_per_day=0,
    )
    quotas.change(ctx, ctx.organization.slug, asdict(wanted))
    assert quotas.get(ctx, ctx.organization.slug)[0] == wanted
    limit(ctx, max_queued_jobs=None)
    assert quotas.get(ctx, ctx.organization.slug)[0] == replace(wanted, max_queued_jobs=None)


@pytest.mark.parametrize(
    ("param", "value"),
    [
        ("weight", 0.0),
        ("weight", float("nan")),
        ("weight", 1001.0),
        ("default_priority", 0),
        ("default_priority", 6),
        ("max_running_jobs", -1),
        ("max_stored_bytes", -1),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(ctx: Context, param: str, value: float) -> None:
    with pytest.raises(InvalidRequest) as refused:
        limit(ctx, **{param: value})
    assert refused.value.param == param


def test_only_operators_set_quotas(ctx: Context) -> None:
    user = context(ctx.store, ctx.house, ctx.organization, USER_SCOPES)
    for action in (
        lambda: quotas.get(user, ctx.organization.slug),
        lambda: quotas.change(user, ctx.organization.slug, {}),
        lambda: quotas.prioritize(user, uuid4(), 5),
    ):
        with pytest.raises(PermissionDenied):
            action()


def test_an_organization_that_is_not_there_has_no_quota(ctx: Context) -> None:
    with pytest.raises(NotFound):
        quotas.change(ctx, str(uuid4()), {})


def test_an_admin_sees_their_own_quota_and_changes_none(ctx: Context, store: Store) -> None:
    other = organization("other")
    store.accounts.add_organization(other)
    admin = context(ctx.store, ctx.house, ctx.organization, frozenset({Scope.ADMIN}))
    assert quotas.get(admin, ctx.organization.slug)[0] == Quota()
    with pytest.raises(NotFound):
        quotas.get(admin, "other")
    with pytest.raises(PermissionDenied):
        quotas.change(admin, ctx.organization.slug, {"weight": 9.0})


def test_one_job_too_many_is_not_queued(ctx: Context) -> None:
    limit(ctx, max_queued_jobs=2)
    first = create(ctx)
    create(ctx)
    with pytest.raises(QuotaExceeded, match=r"max_queued_jobs\), and has 2\. Wait"):
        create(ctx)
    jobs.stop(ctx, first.id)
    create(ctx)
    with pytest.raises(QuotaExceeded):
        jobs.restart(ctx, first.id)


def test_jobs_begin_with_their_organizations_priority(ctx: Context) -> None:
    limit(ctx, default_priority=5)
    assert create(ctx).priority == 5


def test_a_job_can_be_put_before_the_others(ctx: Context) -> None:
    queued_job(ctx.store, ctx.organization)
    urgent = queued_job(ctx.store, ctx.organization)
    assert quotas.prioritize(ctx, urgent.id, 5).priority == 5
    assignment = scheduling.lease(ctx.store, BOX, NOW)
    assert assignment is not None
    assert assignment.job_id == urgent.id


def test_no_more_jobs_run_than_may(ctx: Context) -> None:
    limit(ctx, max_running_jobs=1)
    first, _ = (queued_job(ctx.store, ctx.organization) for _ in range(2))
    assert scheduling.lease(ctx.store, BOX, NOW) is not None
    assert scheduling.lease(ctx.store, BOX, NOW) is None
    jobs.stop(ctx, first.id)
    assert scheduling.lease(ctx.store, BOX, NOW) is not None


def test_who_has_trained_a_days_tokens_waits_for_the_next(ctx: Context, blobs: Blobs) -> None:
    limit(ctx, max_tokens_per_day=100)
    queued_job(ctx.store, ctx.organization)
    queued_job(ctx.store, ctx.organization)
    its = scheduling.lease(ctx.store, BOX, NOW)
    assert its is not None
    step = StepReported(metrics=metrics(1, tokens=100))
    for sequence in (1, 2):  # what is trained again counts once
        batch = ReportBatch(sequence=sequence, reports=(step,))
        leases.record(ctx.store, blobs, its.job_id, its.attempt, batch, NOW)
    assert quotas.get(ctx, ctx.organization.slug)[1] == Use(
        running_jobs=1, queued_jobs=1, stored_bytes=0, tokens_today=100
    )
    assert scheduling.lease(ctx.store, BOX, NOW) is None
    assert scheduling.lease(ctx.store, BOX, NOW + timedelta(hours=11, minutes=59)) is None
    assert scheduling.lease(ctx.store, BOX, NOW + timedelta(hours=12)) is not None


def add_file(ctx: Context, blob: Blob) -> None:
    files.add(ctx, filename="a.jsonl", purpose=FilePurpose.TRAINING, blob=blob)


def test_bytes_beyond_the_quota_are_not_stored(ctx: Context, blobs: Blobs) -> None:
    limit(ctx, max_stored_bytes=10)
    add_file(ctx, blobs.put(b"1234567"))
    with pytest.raises(
        QuotaExceeded, match=r"10 bytes \(max_stored_bytes\) and has stored 7; these 4"
    ):
        add_file(ctx, blobs.put(b"1234"))
    add_file(ctx, blobs.put(b"123"))


def test_an_upload_counts_once(ctx: Context, blobs: Blobs) -> None:
    limit(ctx, max_stored_bytes=10)
    new = NewUpload(filename="a", purpose=FilePurpose.BATCH, size_bytes=8)
    upload = uploads.create(ctx, new)
    part = uploads.add_part(ctx, upload.id, blobs.put(b"12345678"))
    with pytest.raises(QuotaExceeded):
        uploads.add_part(ctx, upload.id, blobs.put(b"123"))
    with pytest.raises(QuotaExceeded):
        uploads.create(ctx, new)
    assembly = uploads.begin_completion(ctx, upload.id, Completion(part_ids=(part.id,), md5=None))
    assert isinstance(assembly, uploads.Assembly)
    blob = uploads.assemble(blobs, assembly)
    assert uploads.complete(ctx, assembly, blob).file is not None


def test_other_organizations_have_their_own(
    ctx: Context, store: Store, house: House, clock: Clock
) -> None:
    limit(ctx, max_queued_jobs=0, max_stored_bytes=0)
    other = organization("other")
    store.accounts.add_organization(other)
    assert create(context(store, house, other)).status is JobStatus.VALIDATING
