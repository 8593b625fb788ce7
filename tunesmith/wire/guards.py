"""Headers of every answer that tell browsers to keep to the safe side."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_DOCUMENTS = "https://cdn.jsdelivr.net"  # from where FastAPI's pages on the APIs have their scripts
_CSP = "default-src 'none'; frame-ancestors 'none'"
_CSP_OF_PAGES = (
    "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_CSP_OF_DOCUMENTS = (
    f"default-src 'self'; script-src 'unsafe-inline' {_DOCUMENTS}; "
    f"style-src 'unsafe-inline' {_DOCUMENTS}; img-src 'self' data: https://fastapi.tiangolo.com; "
    "worker-src blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)
_HSTS = "max-age=31536000"


class SecurityHeaders:
    """Pure ASGI. A policy that a route has set for itself stays."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message.setdefault("headers", [])
                headers = MutableHeaders(scope=message)
                headers.setdefault("content-security-policy", _policy(scope, headers))
                headers.setdefault("x-content-type-options", "nosniff")
                headers.setdefault("referrer-policy", "no-referrer")
                headers.setdefault("x-frame-options", "DENY")
                if scope["scheme"] == "https":
                    headers.setdefault("strict-transport-security", _HSTS)
            await send(message)

        await self._app(scope, receive, send_guarded)


def _policy(scope: Scope, headers: MutableHeaders) -> str:
    if not headers.get("content-type", "").startswith("text/html"):
        return _CSP
    is_document = scope["path"].endswith(("/docs", "/redoc", "/docs/oauth2-redirect"))
    return _CSP_OF_DOCUMENTS if is_document else _CSP_OF_PAGES
