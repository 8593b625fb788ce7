"""The outbox: a job's end is written down for its organization's webhooks, and sent from there."""

import random
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from tunesmith.domain.jobs import Job, JobStatus
from tunesmith.domain.webhooks import Delivery, JobEnded, WebhookEndpoint
from tunesmith.store.database import Store

CLAIM_SECONDS = 60.0  # longer than any attempt: a sender that died leaves its claim to others
GIVEN_UP_AFTER = timedelta(days=3)
KEPT = timedelta(days=30)

_WAITS_SECONDS = (5, 30, 120, 600, 3600, 6 * 3600, 12 * 3600)
_JITTER = 0.2  # of the wait, either way: what failed together is not tried again together


def announce(store: Store, job: Job, outcome: JobStatus, now: datetime) -> None:
    """In the transaction that ends the job: those to be told are written down just if it ended."""
    event = JobEnded(id=uuid4(), job_id=job.id, outcome=outcome, created_at=now)
    for endpoint in store.webhooks.list_endpoints(job.organization_id):
        if outcome in endpoint.outcomes:
            add(store, endpoint.id, event)


def add(store: Store, endpoint_id: UUID, event: JobEnded) -> Delivery:
    delivery = Delivery(
        id=uuid4(), endpoint_id=endpoint_id, event=event, available_at=event.created_at
    )
    store.webhooks.add_delivery(delivery)
    return delivery


def claim(store: Store, now: datetime, limit: int) -> tuple[tuple[WebhookEndpoint, Delivery], ...]:
    """What is to be sent now, by the caller and nobody else."""
    return store.webhooks.claim(now, now + timedelta(seconds=CLAIM_SECONDS), limit)


def delivered(store: Store, delivery: Delivery, result: str, now: datetime) -> None:
    over = replace(delivery, available_at=None, delivered_at=now)
    store.webhooks.settle(replace(over, last_attempt_at=now, last_result=result))


def missed(store: Store, delivery: Delivery, result: str, now: datetime) -> None:
    """To be tried again, later each time; given up after three days."""
    wait = _WAITS_SECONDS[min(delivery.attempts, len(_WAITS_SECONDS)) - 1]
    next_at = now + timedelta(seconds=wait * random.uniform(1 - _JITTER, 1 + _JITTER))
    is_too_late = next_at > delivery.event.created_at + GIVEN_UP_AFTER
    waiting = replace(delivery, available_at=None if is_too_late else next_at)
    store.webhooks.settle(replace(waiting, last_attempt_at=now, last_result=result))


def prune(store: Store, now: datetime) -> int:
    """Returns how many old deliveries were forgotten."""
    return store.webhooks.prune(now - KEPT)
