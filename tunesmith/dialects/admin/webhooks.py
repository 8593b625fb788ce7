"""Webhooks: where an organization is told how its jobs ended."""

from uuid import UUID

from fastapi import APIRouter, Request

from tunesmith.dialects.admin import schemas, translate
from tunesmith.dialects.admin.auth import InOrganization
from tunesmith.services import webhooks

router = APIRouter(prefix="/webhooks")


@router.post("", status_code=201)
def create_webhook(
    body: schemas.CreateWebhook, request: Request, ctx: InOrganization
) -> schemas.CreatedWebhook:
    endpoint = webhooks.create(
        ctx,
        url=body.url,
        outcomes=frozenset(body.outcomes),
        allow_private=request.app.state.webhooks_allow_private,
    )
    return translate.created_webhook(endpoint)


@router.get("")
def list_webhooks(ctx: InOrganization) -> list[schemas.Webhook]:
    return [translate.webhook(*pair) for pair in webhooks.list_(ctx)]


@router.delete("/{webhook_id}", status_code=204)
def delete_webhook(webhook_id: UUID, ctx: InOrganization) -> None:
    webhooks.delete(ctx, webhook_id)


@router.post("/{webhook_id}/test", status_code=202)
def send_test_event(webhook_id: UUID, ctx: InOrganization) -> schemas.Delivery:
    """It goes the way of all events; the list of deliveries tells what came of it."""
    return translate.delivery(webhooks.test(ctx, webhook_id))


@router.get("/{webhook_id}/deliveries")
def list_deliveries(webhook_id: UUID, ctx: InOrganization) -> list[schemas.Delivery]:
    return [translate.delivery(item) for item in webhooks.list_deliveries(ctx, webhook_id)]
