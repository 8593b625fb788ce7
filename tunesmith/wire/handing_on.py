"""A request to one dialect that another one answers; `app.py` says which may ask which."""

from collections.abc import Callable, Collection

from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send


class HandedOn(Response):
    """Lets another app answer, as if the holder of `secret` had asked it at `path`.

    The `credentials` are headers of the asking dialect that the answering one need not see. Where
    the body was read already, `body` goes in its place.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        secret: str,
        *,
        credentials: Collection[str],
        body: bytes | None = None,
        wrap: Callable[[Send], Send] | None = None,
    ) -> None:
        super().__init__()
        self._app = app
        self._path = path
        self._secret = secret
        self._credentials = credentials
        self._sent = body
        self._wrap = wrap

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        sent = receive if self._sent is None else _of_bytes(self._sent, receive)
        await self._app(self._scope(scope), sent, send if self._wrap is None else self._wrap(send))

    def _scope(self, scope: Scope) -> Scope:
        headers = MutableHeaders(raw=list(scope["headers"]))
        for name in self._credentials:
            del headers[name]
        headers["authorization"] = f"Bearer {self._secret}"
        if self._sent is not None:
            headers["content-length"] = str(len(self._sent))
            del headers["transfer-encoding"]
        place = {"path": self._path, "raw_path": self._path.encode(), "root_path": ""}
        return {**scope, **place, "path_params": {}, "headers": headers.raw}


def _of_bytes(body: bytes, receive: Receive) -> Receive:
    bodies = [body]

    async def receive_body() -> Message:
        if bodies:
            return {"type": "http.request", "body": bodies.pop(), "more_body": False}
        return await receive()

    return receive_body
