"""What the server does by itself: ends the leases of silent workers, removes what expired."""

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from starlette.concurrency import run_in_threadpool

from tunesmith.domain.assignments import JobsWait
from tunesmith.domain.jobs import Task
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.services import files, idempotency, scheduling, uploads
from tunesmith.store.clock import Clock

log = structlog.get_logger()

LEASE_CHECK_SECONDS = 5.0
QUEUE_SECONDS = 0.25
CLOCK_SECONDS = 10.0
SIGHTINGS_SECONDS = 60.0
USAGE_SECONDS = 5.0
SWEEP_SECONDS = 3600.0
SWEEP_AGE_WHEN_SHORT_SECONDS = 900.0  # a slow upload may then have to be sent again


async def end_silent_leases(foundation: Foundation) -> None:
    """Runs until cancelled."""
    while True:
        await asyncio.sleep(LEASE_CHECK_SECONDS)
        with _carrying_on("ending silent leases"):
            async with foundation.writing() as store:
                num_lost = await run_in_threadpool(
                    scheduling.end_silent, store, foundation.house.now()
                )
            if num_lost:
                log.warning("leases expired", count=num_lost)


async def watch_queue(foundation: Foundation, hub: Hub) -> None:
    """Tell this server's workers of jobs that came by other servers; runs until cancelled."""
    while True:
        await asyncio.sleep(QUEUE_SECONDS)
        with _carrying_on("watching the queue"):
            async with foundation.reading() as store:
                now = foundation.house.now()
                has_jobs = await run_in_threadpool(store.queue.has_waiting, now, tuple(Task))
            if has_jobs:
                hub.announce([JobsWait(jobs_wait=True)])


async def keep_time(clock: Clock) -> None:
    """Runs until cancelled."""
    while True:
        await asyncio.sleep(CLOCK_SECONDS)
        with _carrying_on("asking the database's time"):
            await run_in_threadpool(clock.set)


async def write_sightings(foundation: Foundation) -> None:
    """Runs until cancelled, and writes once more then."""
    try:
        while True:
            await asyncio.sleep(SIGHTINGS_SECONDS)
            with _carrying_on("writing sightings"):
                await _write_sightings(foundation)
    finally:
        with _carrying_on("writing sightings"):
            await _write_sightings(foundation)


async def _write_sightings(foundation: Foundation) -> None:
    if not foundation.sightings:
        return
    taken = foundation.sightings.take()
    async with foundation.writing() as store:
        await run_in_threadpool(taken.write, store)


async def write_usage(foundation: Foundation) -> None:
    """Runs until cancelled, and writes once more then."""
    try:
        while True:
            await asyncio.sleep(USAGE_SECONDS)
            with _carrying_on("writing usage"):
                await _to_its_end(_write_usage(foundation))
    finally:
        with _carrying_on("writing usage"):
            await _write_usage(foundation)


async def _write_usage(foundation: Foundation) -> None:
    taken = foundation.house.consumption.take()
    if not taken:
        return
    try:
        async with foundation.writing() as store:
            await run_in_threadpool(store.answers_usage.add, taken)
    except Exception:
        foundation.house.consumption.give_back(taken)
        raise


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Also where this is cancelled: what is written half-way might be written twice."""
    task = asyncio.create_task(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise


async def sweep_blobs(foundation: Foundation, older_than_seconds: float) -> None:
    """Runs until cancelled. What has expired goes first, so that its bytes can go too.

    Younger bytes stay: an upload's are there before the row that needs them.
    """
    while True:
        with _carrying_on("sweeping blobs"):
            await sweep(foundation, older_than_seconds)
        await asyncio.sleep(SWEEP_SECONDS)


async def sweep(foundation: Foundation, older_than_seconds: float) -> None:
    """Remove what has expired, and bytes of this age that nobody needs."""
    await _remove_expired(foundation)
    async with foundation.reading() as store:
        in_use = await run_in_threadpool(store.files.blobs_in_use)
    removed = await run_in_threadpool(foundation.house.blobs.sweep, in_use, older_than_seconds)
    if removed:
        log.info("blobs removed", count=removed)


async def _remove_expired(foundation: Foundation) -> None:
    now = foundation.house.now()
    async with foundation.writing() as store:
        num_files = await run_in_threadpool(files.remove_expired, store, now)
        num_parts = await run_in_threadpool(uploads.remove_expired, store, now)
        num_keys = await run_in_threadpool(idempotency.remove_old, store, now)
    if num_files or num_parts or num_keys:
        log.info("expired", files=num_files, parts=num_parts, idempotency_keys=num_keys)


@contextmanager
def _carrying_on(what: str) -> Iterator[None]:
    """Whatever one round meets, such as a database that is away, the next may go well."""
    try:
        yield
    except Exception:
        log.exception("housekeeping failed", what=what)
