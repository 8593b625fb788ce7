"""The headers that the original adds to its answers."""

import time

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API_VERSION = "2020-10-01"
ORGANIZATION = "tunesmith.openai.organization"  # in the scope, once the caller is known
RATE_LIMITS = "tunesmith.openai.rate_limits"  # in the scope where there are any: makes the headers


class VendorHeaders:
    """Pure ASGI: says the API's version, how long an answer took, for whom, and what is left."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["openai-version"] = API_VERSION
                headers["openai-processing-ms"] = str(round((time.monotonic() - started) * 1000))
                if ORGANIZATION in scope:
                    headers["openai-organization"] = scope[ORGANIZATION]
                if RATE_LIMITS in scope:
                    headers.update(scope[RATE_LIMITS]())
            await send(message)

        await self._app(scope, receive, send_with_headers)
