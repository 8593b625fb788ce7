"""`/metrics` on an address of its own, for Prometheus alone: no key is asked for there."""

import asyncio
import shutil
from pathlib import Path

import structlog
import uvicorn
from fastapi import FastAPI, Response
from starlette.concurrency import run_in_threadpool

from tunesmith import metrics
from tunesmith.domain.errors import TunesmithError
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation
from tunesmith.store.database import Store

log = structlog.get_logger()

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def build(foundation: Foundation, hub: Hub, data_dir: Path) -> FastAPI:
    app = FastAPI(openapi_url=None)

    @app.get("/metrics")
    async def read() -> Response:
        metrics.WORKERS.set(hub.num_workers)
        metrics.FREE_BYTES.set(shutil.disk_usage(data_dir).free)
        metrics.WAL_BYTES.set(_size(data_dir / "tunesmith.db-wal"))
        try:
            async with foundation.reading() as store:
                await run_in_threadpool(_look, foundation, store)
        except TunesmithError as error:
            log.warning("metrics without the database", reason=error.message)
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)

    return app


async def serve(app: FastAPI, host: str, port: int) -> None:
    """Runs until cancelled."""
    config = uvicorn.Config(
        app, host=host, port=port, log_config=None, access_log=False, lifespan="off"
    )
    server = uvicorn.Server(config)
    try:
        await server.serve()
    except asyncio.CancelledError:
        server.should_exit = True
        await server.shutdown()
        raise


def _look(foundation: Foundation, store: Store) -> None:
    for status, count in store.vitals.jobs_by_status().items():
        metrics.JOBS.labels(status.value).set(count)
    waiting = store.vitals.waiting()
    now = foundation.house.now()
    for task, (count, _) in waiting.items():
        metrics.QUEUE_DEPTH.labels(task.value).set(count)
    ages = [(now - since).total_seconds() for _, since in waiting.values() if since is not None]
    metrics.QUEUE_OLDEST.set(max([0.0, *ages]))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
