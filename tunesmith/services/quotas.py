"""What organizations may have: set by operators, and kept wherever something is added."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest, QuotaExceeded
from tunesmith.domain.jobs import Job
from tunesmith.domain.quotas import MAX_PRIORITY, MAX_WEIGHT, MIN_PRIORITY, Quota, Use
from tunesmith.services import audit, organizations
from tunesmith.services.context import Context


def get(ctx: Context, reference: str) -> tuple[Quota, Use]:
    """Of an organization, by id or slug: the caller's own, for operators each."""
    organization = organizations.get(ctx, reference)
    return ctx.store.shares.get_quota(organization.id), _use(ctx, organization.id)


def change(ctx: Context, reference: str, changes: Mapping[str, Any]) -> tuple[Quota, Use]:
    """What runs or is stored already stays, even if it is more than is allowed then."""
    ctx.require(Scope.OPERATOR)
    organization = organizations.get(ctx, reference)
    before = ctx.store.shares.get_quota_to_keep(organization.id)
    quota = replace(before, **changes)
    _check(quota)
    ctx.store.shares.put_quota(organization.id, quota)
    there = replace(ctx, organization=organization)
    audit.record(there, "organization.set_quota", organization.id, before=before, after=quota)
    return quota, _use(ctx, organization.id)


def prioritize(ctx: Context, job_id: UUID, priority: int) -> Job:
    """Give a job of whatever organization another priority."""
    ctx.require(Scope.OPERATOR)
    _check_priority(priority, "priority")
    job = ctx.store.jobs.get_for_worker(job_id)
    ctx.store.jobs.set_priority(job.id, priority)
    ctx.store.queue.set_priority(job.id, priority)
    changed = ctx.store.jobs.get_for_worker(job_id)
    audit.record(ctx, "job.prioritize", job.id, before=job, after=changed)
    return changed


def admit_job(ctx: Context) -> Quota:
    """Raises `QuotaExceeded` where one more job may not wait."""
    quota = ctx.store.shares.get_quota(ctx.owner)
    if quota.max_queued_jobs is None:
        return quota
    quota = ctx.store.shares.get_quota_to_keep(ctx.owner)
    limit, num_queued = quota.max_queued_jobs, ctx.store.shares.count_queued(ctx.owner)
    if limit is not None and num_queued >= limit:
        raise QuotaExceeded(
            f"The organization may have {limit:,} jobs waiting (max_queued_jobs), and has "
            f"{num_queued:,}. Wait until one has begun, or stop one.",
            code="too_many_queued_jobs",
        )
    return quota


def admit_bytes(ctx: Context, size_bytes: int) -> None:
    """Raises `QuotaExceeded` where so many bytes more may not be stored."""
    if ctx.store.shares.get_quota(ctx.owner).max_stored_bytes is None:
        return
    limit = ctx.store.shares.get_quota_to_keep(ctx.owner).max_stored_bytes
    stored = ctx.store.shares.stored_bytes(ctx.owner)
    if limit is not None and stored + size_bytes > limit:
        raise QuotaExceeded(
            f"The organization may store {limit:,} bytes (max_stored_bytes) and has stored "
            f"{stored:,}; these {size_bytes:,} are too many. Delete files that are needed no more, "
            "or cancel uploads.",
            code="storage_full",
        )


def _use(ctx: Context, organization_id: UUID) -> Use:
    standing = ctx.store.shares.standings([organization_id], ctx.now())[organization_id]
    return Use(
        running_jobs=standing.num_running_jobs,
        queued_jobs=ctx.store.shares.count_queued(organization_id),
        stored_bytes=ctx.store.shares.stored_bytes(organization_id),
        tokens_today=standing.tokens_today,
    )


def _check(quota: Quota) -> None:
    if not 0 < quota.weight <= MAX_WEIGHT:
        raise InvalidRequest(f"weight is above 0 and at most {MAX_WEIGHT:g}.", param="weight")
    _check_priority(quota.default_priority, "default_priority")
    for name in ("max_running_jobs", "max_queued_jobs", "max_stored_bytes", "max_tokens_per_day"):
        limit = getattr(quota, name)
        if limit is not None and limit < 0:
            raise InvalidRequest(f"{name} may not be negative.", param=name)


def _check_priority(priority: int, param: str) -> None:
    if not MIN_PRIORITY <= priority <= MAX_PRIORITY:
        raise InvalidRequest(
            f"{param} is a number from {MIN_PRIORITY} to {MAX_PRIORITY}.", param=param
        )
