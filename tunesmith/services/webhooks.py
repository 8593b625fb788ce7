"""Webhook endpoints as their organizations see them."""

from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import NotFound, QuotaExceeded
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import (
    OUTCOMES,
    Delivery,
    JobEnded,
    WebhookEndpoint,
    check_url,
    new_signing_secret,
)
from tunesmith.services import audit, deliveries
from tunesmith.services.context import Context

MAX_ENDPOINTS = 10  # of an organization
SHOWN_DELIVERIES = 100


def create(
    ctx: Context, *, url: str, outcomes: frozenset[JobStatus], allow_private: bool
) -> WebhookEndpoint:
    """Its secret is to be shown this once."""
    ctx.require(Scope.ADMIN)
    check_url(url, allow_private=allow_private)
    if len(ctx.store.webhooks.list_endpoints(ctx.owner)) >= MAX_ENDPOINTS:
        raise QuotaExceeded(f"There are {MAX_ENDPOINTS} webhooks already; delete one first.")
    endpoint = WebhookEndpoint(
        id=uuid4(),
        organization_id=ctx.owner,
        url=url,
        outcomes=outcomes,
        secret=new_signing_secret(),
        created_at=ctx.now(),
    )
    ctx.store.webhooks.add_endpoint(endpoint)
    audit.record(ctx, "webhook.create", endpoint.id, after=endpoint)
    return endpoint


def list_(ctx: Context) -> tuple[tuple[WebhookEndpoint, Delivery | None], ...]:
    """Each with its newest delivery."""
    ctx.require(Scope.ADMIN)
    return tuple(
        (endpoint, next(iter(ctx.store.webhooks.list_deliveries(endpoint.id, 1)), None))
        for endpoint in ctx.store.webhooks.list_endpoints(ctx.owner)
    )


def delete(ctx: Context, endpoint_id: UUID) -> None:
    """What has not been delivered never will be."""
    ctx.require(Scope.ADMIN)
    if not ctx.store.webhooks.delete_endpoint(endpoint_id, ctx.owner):
        raise NotFound("webhook", str(endpoint_id))
    audit.record(ctx, "webhook.delete", endpoint_id)


def test(ctx: Context, endpoint_id: UUID) -> Delivery:
    """Tell of a job that does not exist, on the way that real events take."""
    ctx.require(Scope.ADMIN)
    endpoint = ctx.store.webhooks.get_endpoint(endpoint_id, ctx.owner)
    outcome = next(outcome for outcome in OUTCOMES if outcome in endpoint.outcomes)
    event = JobEnded(id=uuid4(), job_id=uuid4(), outcome=outcome, created_at=ctx.now())
    audit.record(ctx, "webhook.test", endpoint.id, before=endpoint, after=endpoint)
    return deliveries.add(ctx.store, endpoint.id, event)


def list_deliveries(ctx: Context, endpoint_id: UUID) -> tuple[Delivery, ...]:
    """The newest hundred."""
    ctx.require(Scope.ADMIN)
    endpoint = ctx.store.webhooks.get_endpoint(endpoint_id, ctx.owner)
    return ctx.store.webhooks.list_deliveries(endpoint.id, SHOWN_DELIVERIES)
