"""Wire <-> domain."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from tunesmith.dialects.admin import schemas
from tunesmith.domain.catalog import BaseModel, KnownModel, WeightFile
from tunesmith.domain.devices import Hardware
from tunesmith.domain.estimates import Estimate
from tunesmith.domain.webhooks import OUTCOMES, Delivery, WebhookEndpoint
from tunesmith.services import weights
from tunesmith.services.queue_report import Explanation


def new_base_model(entry: schemas.BaseModelEntry, now: datetime) -> BaseModel:
    fields = entry.model_dump(exclude={"aliases", "files", "tasks"})
    return BaseModel(
        **fields,
        aliases=tuple(entry.aliases),
        files=tuple(WeightFile(name=n, size_bytes=s) for n, s in entry.files.items()),
        tasks=tuple(entry.tasks),
        created_at=now,
    )


def base_model(model: BaseModel) -> schemas.BaseModelEntry:
    return schemas.BaseModelEntry(**_fields(model))


def listed_base_model(model: BaseModel) -> schemas.ListedBaseModel:
    return schemas.ListedBaseModel(**_fields(model), id=model.id, weights=weights.state_of(model))


def _fields(model: BaseModel) -> dict[str, Any]:
    fields = asdict(model)
    del fields["created_at"], fields["artifacts"]
    return fields | {"files": {file.name: file.size_bytes for file in model.files}}


def known_model(known: KnownModel, bases: Collection[BaseModel]) -> schemas.KnownModel:
    enabled_as = [model.name for model in bases if model.hub_id == known.hub_id]
    return schemas.KnownModel(**asdict(known), enabled_as=enabled_as)


def hardware(found: Hardware) -> schemas.Hardware:
    return schemas.Hardware(
        id=found.id,
        name=found.device.name,
        kind=found.device.kind,
        gpu_memory_bytes=found.device.memory_bytes if found.num_gpus else 0,
        num_gpus=found.num_gpus,
        cost_per_hour=found.cost_per_hour,
    )


def estimate(model: BaseModel, num_examples: int, made: Estimate) -> schemas.Estimate:
    return schemas.Estimate(
        base_model=model.name,
        num_examples=num_examples,
        minutes=made.minutes,
        cost=made.cost,
        device=made.pace.device,
        is_measured=made.pace.is_measured,
        tokens_per_second=made.pace.tokens_per_second,
        tokens_per_example=made.tokens_per_example,
    )


def queued_job(one: Explanation) -> schemas.QueuedJob:
    return schemas.QueuedJob(**asdict(one))


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
