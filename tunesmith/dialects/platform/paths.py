"""Both forms of a path: with a slash at the end, and without."""

from starlette.types import ASGIApp, Receive, Scope, Send


class BothSlashForms:
    """Pure ASGI: takes the slash from the end, so that each route is written once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].endswith("/"):
            # In place: the middleware outside of this dialect reads the scope as well.
            scope["path"] = scope["path"][:-1]
        await self._app(scope, receive, send)
