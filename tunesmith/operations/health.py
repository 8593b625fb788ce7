"""`/livez` and `/readyz`: whether to restart this process, and whether to send it requests."""

import asyncio
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.domain.errors import TunesmithError
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation

REMEMBERED_SECONDS = 1.0  # anybody may ask, and each check writes
PATHS = ("/livez", "/healthz", "/readyz")
_OK = "ok"


@dataclass(slots=True)
class Health:
    """`tasks` are what the server does by itself; one that has ended will not come back."""

    foundation: Foundation
    hub: Hub
    data_dir: Path
    floor_bytes: int
    tasks: Sequence["asyncio.Task[None]"] = ()
    _checks: dict[str, str] = field(default_factory=dict)
    _checked_at: float = float("-inf")

    async def checks(self) -> dict[str, str]:
        """By name: "ok", or what is wrong."""
        if time.monotonic() - self._checked_at >= REMEMBERED_SECONDS:
            self._checks = {
                **await self._database(),
                "disk": self._disk(),
                "scheduler": self._scheduler(),
            }
            self._checked_at = time.monotonic()
        if self.foundation.is_leaving.is_set():
            return {**self._checks, "leaving": "The server is being stopped."}
        return self._checks

    async def _database(self) -> dict[str, str]:
        try:
            async with self.foundation.writing() as store:
                is_migrated = await run_in_threadpool(store.vitals.is_migrated)
                if is_migrated:
                    await run_in_threadpool(store.vitals.check_write, self.foundation.house.now())
        except (TunesmithError, OSError) as error:
            return {"database": str(error), "migrations": "not known"}
        other = "The database is of another version; start the server of that one, or upgrade."
        return {"database": _OK, "migrations": _OK if is_migrated else other}

    def _disk(self) -> str:
        free = shutil.disk_usage(self.data_dir).free
        if free >= self.floor_bytes:
            return _OK
        return f"{free:,} bytes are free where the data is; {self.floor_bytes:,} are needed."

    def _scheduler(self) -> str:
        ended = [task.get_name() for task in self.tasks if task.done()]
        return f"{', '.join(ended)} has ended; restart the server." if ended else _OK


def add_routes(app: FastAPI, health: Health) -> None:
    @app.get("/livez")
    @app.get("/healthz")
    async def livez() -> dict[str, str]:
        """The process answers; nothing is looked at."""
        return {"status": "ok"}

    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        """Whether requests can be served, with the reasons where not; counts the workers, too."""
        checks = await health.checks()
        wrong = [f"{name}: {result}" for name, result in checks.items() if result != _OK]
        body: dict[str, Any] = {
            "status": "unavailable" if wrong else "ready",
            "checks": checks,
            "workers": health.hub.num_workers,
        }
        if wrong:
            body["reason"] = " ".join(wrong)
        return JSONResponse(body, status_code=503 if wrong else 200)
