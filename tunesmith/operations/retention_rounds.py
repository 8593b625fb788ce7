"""Once a day, what need not be kept goes."""

import asyncio

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.http import Foundation
from tunesmith.services import retention
from tunesmith.services.retention import Policy

log = structlog.get_logger()

ROUND_SECONDS = 24 * 3600.0
PAUSE_SECONDS = 0.1  # between batches, for those who wait to write


async def remove_daily(foundation: Foundation, policy: Policy) -> None:
    """Runs until cancelled."""
    while True:
        try:
            await remove(foundation, policy)
        except Exception:  # whatever one round meets, the next may go well
            log.exception("retention failed")
        await asyncio.sleep(ROUND_SECONDS)


async def remove(foundation: Foundation, policy: Policy) -> None:
    now = foundation.house.now()
    while True:
        async with foundation.writing() as store:
            removed = await run_in_threadpool(retention.remove_some, store, policy, now)
        if not removed:
            return
        log.info(
            "retention",
            checkpoints=removed.num_checkpoints,
            bytes=removed.num_bytes,
            events=removed.num_events,
        )
        await asyncio.sleep(PAUSE_SECONDS)
