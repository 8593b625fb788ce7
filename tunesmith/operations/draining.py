"""Leaving in good order: nothing new is begun, what is under way has a while, streams end with a
reason.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation

log = structlog.get_logger()

LOOK_SECONDS = 0.1
CLOSING_SECONDS = 2.0  # for streams to say why they end


@dataclass(slots=True)
class Draining:
    """`begin` may be called from any thread; `is_done` is set when the server can be stopped."""

    foundation: Foundation
    hub: Hub
    grace_seconds: float
    is_done: threading.Event = field(default_factory=threading.Event)
    num_requests: int = 0  # that are under way

    def begin(self) -> None:
        self.foundation.is_leaving.set()

    async def run(self) -> None:
        """Runs until cancelled."""
        while not self.foundation.is_leaving.is_set():
            await asyncio.sleep(LOOK_SECONDS)
        log.info("leaving", requests=self.num_requests)
        if not await self._until_idle(self.grace_seconds):
            log.warning("answers end before their time", requests=self.num_requests)
        self.hub.close()
        await self._until_idle(CLOSING_SECONDS)
        self.is_done.set()
        await asyncio.Event().wait()

    async def _until_idle(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.num_requests and time.monotonic() < deadline:
            await asyncio.sleep(LOOK_SECONDS)
        return not self.num_requests


class CountRequests:
    """Pure ASGI: how many requests are under way, apart from those on paths that are spared."""

    def __init__(self, app: ASGIApp, draining: Draining, is_spared: Callable[[str], bool]) -> None:
        self._app = app
        self._draining = draining
        self._is_spared = is_spared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_spared(scope["path"]):
            await self._app(scope, receive, send)
            return
        self._draining.num_requests += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._draining.num_requests -= 1
