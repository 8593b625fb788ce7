"""The paths that clients send: with slashes doubled, at the end, or escaped inside of names."""

import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Receive, Scope, Send

_SLASHES = re.compile(rb"/{2,}")


class LenientPaths:
    """Pure ASGI: one slash for several, none at the end.

    It looks at the path as it was sent, so that an escaped slash stays part of a name.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw = _SLASHES.sub(b"/", scope["raw_path"]).rstrip(b"/")
            # In place: the middleware outside of this dialect reads the scope as well.
            scope["raw_path"], scope["path"] = raw, unquote(raw.decode("latin-1"))
        await self._app(scope, receive, send)
