"""Sends what waits for webhooks, and forgets what was sent long ago."""

import asyncio
from collections.abc import Callable, Sequence

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.domain.webhooks import Delivery, JobEnded, Message, WebhookEndpoint
from tunesmith.http import Foundation
from tunesmith.outbox.rounds import Work, carrying_on, keep_busy
from tunesmith.outbox.sending import Sender
from tunesmith.services import deliveries

log = structlog.get_logger()

LOOK_SECONDS = 1.0
PRUNE_SECONDS = 3600.0
MAX_AT_ONCE = 16

Render = Callable[[JobEnded], Message]


async def deliver(foundation: Foundation, sender: Sender, render: Render) -> None:
    """Runs until cancelled; what is being sent then is sent again after the next start."""

    async def claim(limit: int) -> Sequence[Work]:
        return [
            _deliver_one(foundation, sender, render, endpoint, delivery)
            for endpoint, delivery in await _claim(foundation, limit)
        ]

    await keep_busy(
        "delivering webhooks", claim, max_at_once=MAX_AT_ONCE, look_seconds=LOOK_SECONDS
    )


async def prune(foundation: Foundation) -> None:
    """Runs until cancelled."""
    while True:
        with carrying_on("pruning webhook deliveries"):
            async with foundation.writing() as store:
                num = await run_in_threadpool(deliveries.prune, store, foundation.house.now())
            if num:
                log.info("webhook deliveries pruned", count=num)
        await asyncio.sleep(PRUNE_SECONDS)


async def _claim(
    foundation: Foundation, limit: int
) -> tuple[tuple[WebhookEndpoint, Delivery], ...]:
    now = foundation.house.now()
    async with foundation.reading() as store:
        if not await run_in_threadpool(store.webhooks.has_due, now):
            return ()
    async with foundation.writing() as store:
        return await run_in_threadpool(deliveries.claim, store, now, limit)


async def _deliver_one(
    foundation: Foundation,
    sender: Sender,
    render: Render,
    endpoint: WebhookEndpoint,
    delivery: Delivery,
) -> None:
    result = await sender.send(endpoint, render(delivery.event), foundation.house.now())
    settle = deliveries.delivered if result.is_delivered else deliveries.missed
    now = foundation.house.now()
    async with foundation.writing() as store:
        await run_in_threadpool(settle, store, delivery, result.text, now)
    log.info(
        "webhook",
        delivery=str(delivery.id),
        attempt=delivery.attempts,
        is_delivered=result.is_delivered,
        result=result.text,
    )
