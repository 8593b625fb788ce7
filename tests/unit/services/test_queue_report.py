"""Every job that waits says why, and for what."""

from dataclasses import replace
from datetime import timedelta

import pytest

from tests.factories import NOW, Clock, base_model, context, organization, queued_job, registration
from tunesmith.domain.accounts import USER_SCOPES, Organization
from tunesmith.domain.assignments import Resident, Room
from tunesmith.domain.errors import NotFound, PermissionDenied
from tunesmith.domain.jobs import Job, Task
from tunesmith.services import pausing, queue_report, quotas, scheduling
from tunesmith.services.context import Context, House
from tunesmith.services.queue_report import Explanation, Reason
from tunesmith.store.database import Store

BOX = registration("box")


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    scheduling.register(store, BOX, NOW)
    return context(store, house, owner)


def why(ctx: Context, job: Job) -> Explanation:
    found = queue_report.explain(ctx, job.id)
    assert found is not None
    return found


def test_who_waits_for_a_turn_has_a_place(ctx: Context) -> None:
    first, second = (queued_job(ctx.store, ctx.organization) for _ in range(2))
    assert [(why(ctx, one).position, why(ctx, one).reason) for one in (first, second)] == [
        (1, Reason.TURN),
        (2, Reason.TURN),
    ]


def test_the_order_is_the_one_in_which_jobs_are_given_out(ctx: Context, store: Store) -> None:
    other = organization("other")
    store.accounts.add_organization(other)
    for owner in (ctx.organization, ctx.organization, other, ctx.organization, other):
        queued_job(store, owner)
    told = [one.job_id for one in queue_report.list_all(ctx)]
    given = [scheduling.lease(store, BOX, NOW) for _ in told]
    assert [one and one.job_id for one in given] == told


def test_a_job_that_runs_or_has_ended_waits_for_nothing(ctx: Context) -> None:
    job = queued_job(ctx.store, ctx.organization)
    scheduling.lease(ctx.store, BOX, NOW)
    assert queue_report.explain(ctx, job.id) is None


def test_without_workers_that_is_the_reason(ctx: Context, clock: Clock) -> None:
    job = queued_job(ctx.store, ctx.organization)
    clock.advance(3600)
    assert why(ctx, job).reason is Reason.NO_WORKER


def test_after_a_loss_it_says_until_when(ctx: Context) -> None:
    job = queued_job(ctx.store, ctx.organization)
    wait = timedelta(seconds=8)
    ctx.store.queue.put_back(job.id, Task.TRAIN, NOW, wait=wait, losses=3)
    told = why(ctx, job)
    assert (told.reason, told.position, told.not_before) == (Reason.BACKOFF, None, NOW + wait)


def test_a_full_quota_is_named(ctx: Context) -> None:
    quotas.change(ctx, str(ctx.owner), {"max_running_jobs": 2})
    jobs = [queued_job(ctx.store, ctx.organization) for _ in range(3)]
    scheduling.lease(ctx.store, BOX, NOW)
    assert why(ctx, jobs[1]).reason is Reason.TURN
    told = why(ctx, jobs[2])
    assert (told.reason, told.position) == (Reason.RUNNING_JOBS, None)
    assert "2 at once" in told.starts_when


def test_a_days_tokens_are_waited_for_until_midnight(ctx: Context) -> None:
    quotas.change(ctx, str(ctx.owner), {"max_tokens_per_day": 0})
    told = why(ctx, queued_job(ctx.store, ctx.organization))
    assert (told.reason, told.not_before) == (Reason.TOKENS_PER_DAY, NOW + timedelta(hours=12))


def test_who_was_passed_over_is_told_how_long_at_most(ctx: Context) -> None:
    first = queued_job(ctx.store, ctx.organization, base_model="another")
    queued_job(ctx.store, ctx.organization)
    fingerprint = base_model().fingerprint
    residents = (Resident(base_model="base", fingerprint=fingerprint, takes_more=True),)
    holding_base = replace(BOX, room=Room(residents=residents))
    assert scheduling.lease(ctx.store, holding_base, NOW) is not None
    told = why(ctx, first)
    assert (told.reason, told.not_before) == (Reason.BASE_MODEL, NOW + timedelta(minutes=5))


def test_a_paused_job_waits_for_its_owner(ctx: Context) -> None:
    job = queued_job(ctx.store, ctx.organization)
    pausing.pause(ctx, job.id)
    assert why(ctx, job).reason is Reason.PAUSED


def test_owners_see_their_own_and_operators_all(ctx: Context, store: Store, house: House) -> None:
    other = organization("other")
    store.accounts.add_organization(other)
    job = queued_job(store, other)
    with pytest.raises(NotFound):
        queue_report.explain(ctx, job.id)
    with pytest.raises(PermissionDenied):
        queue_report.list_all(context(store, house, other, USER_SCOPES))
    assert [one.job_id for one in queue_report.list_all(ctx)] == [job.id]
