"""What organizations may have: told and set by operators, and kept wherever something is added."""

from uuid import UUID

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest, NotFound, QuotaExceeded
from tunesmith.domain.jobs import Job
from tunesmith.domain.quotas import MAX_PRIORITY, MIN_PRIORITY, Quota
from tunesmith.services import audit
from tunesmith.services.context import Context

MAX_WEIGHT = 1000.0


def get(ctx: Context, organization_id: UUID) -> Quota:
    ctx.require(Scope.OPERATOR)
    return _known(ctx, organization_id)


def set_(ctx: Context, organization_id: UUID, quota: Quota) -> Quota:
    """What runs or is stored already stays, even if it is more than that."""
    ctx.require(Scope.OPERATOR)
    _known(ctx, organization_id)
    _check(quota)
    ctx.store.shares.put_quota(organization_id, quota)
    audit.record(ctx, "organization.set_quota", organization_id, after=quota)
    return quota


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
    limit = quota.max_queued_jobs
    if limit is not None and ctx.store.shares.count_queued(ctx.owner) >= limit:
        raise QuotaExceeded(
            f"The organization may have {limit:,} jobs waiting, and has; wait until one has begun, "
            "or stop one.",
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
            f"The organization may store {limit:,} bytes and has stored {stored:,}; these "
            f"{size_bytes:,} are too many. Delete files that are needed no more.",
            code="storage_full",
        )


def _known(ctx: Context, organization_id: UUID) -> Quota:
    quota = ctx.store.shares.find_quota(organization_id)
    if quota is None:
        raise NotFound("organization", str(organization_id))
    return quota


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
