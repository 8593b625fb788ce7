"""Wire <-> domain."""

from datetime import datetime

from tunesmith.dialects.admin import schemas
from tunesmith.domain.accounts import Key
from tunesmith.domain.catalog import BaseModel, WeightFile
from tunesmith.domain.webhooks import OUTCOMES, Delivery, WebhookEndpoint
from tunesmith.services.accounts import NewKey


def key(key: Key) -> schemas.Key:
    return schemas.Key(
        id=key.id,
        name=key.name,
        visible_prefix=key.visible_prefix,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        email=key.email,
    )


def created_key(new: NewKey) -> schemas.CreatedKey:
    return schemas.CreatedKey(**key(new.key).model_dump(), key=new.secret)


def new_base_model(entry: schemas.BaseModelEntry, now: datetime) -> BaseModel:
    fields = entry.model_dump(exclude={"aliases", "files"})
    return BaseModel(
        **fields,
        aliases=tuple(entry.aliases),
        files=tuple(WeightFile(name=n, size_bytes=s) for n, s in entry.files.items()),
        created_at=now,
    )


def base_model(model: BaseModel) -> schemas.BaseModelEntry:
    return schemas.BaseModelEntry(
        name=model.name,
        aliases=list(model.aliases),
        folder=model.folder,
        source=model.source,
        num_parameters=model.num_parameters,
        context_tokens=model.context_tokens,
        learning_rate=model.learning_rate,
        files={file.name: file.size_bytes for file in model.files},
    )


def webhook(endpoint: WebhookEndpoint, last_delivery: Delivery | None) -> schemas.Webhook:
    return schemas.Webhook(
        id=endpoint.id,
        url=endpoint.url,
        outcomes=[outcome for outcome in OUTCOMES if outcome in endpoint.outcomes],
        created_at=endpoint.created_at,
        last_delivery=None if last_delivery is None else delivery(last_delivery),
    )


def created_webhook(endpoint: WebhookEndpoint) -> schemas.CreatedWebhook:
    return schemas.CreatedWebhook(**webhook(endpoint, None).model_dump(), secret=endpoint.secret)


def delivery(delivery: Delivery) -> schemas.Delivery:
    return schemas.Delivery(
        id=delivery.id,
        job_id=delivery.event.job_id,
        outcome=delivery.event.outcome,
        created_at=delivery.event.created_at,
        status=delivery.status,
        attempts=delivery.attempts,
        attempted_at=delivery.last_attempt_at,
        result=delivery.last_result,
        next_attempt_at=delivery.available_at,
    )
