"""The files of the dashboard, which is a client of the public API in the browser."""

import base64
import hashlib
import re
from importlib import metadata
from pathlib import Path

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
ASSETS = "/dashboard"
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)
_VERSION = "{{version}}"


def routes() -> list[BaseRoute]:
    """`/` has the page, and `/dashboard/` what belongs to it."""
    page = (FOLDER / "index.html").read_text().replace(_VERSION, metadata.version("tunesmith"))
    etag = f'"{hashlib.sha256(page.encode()).hexdigest()[:32]}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "no-cache",
        "Content-Security-Policy": policy(page),
    }

    async def index(request: Request) -> Response:
        if etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return HTMLResponse(page, headers=headers)

    return [Route("/", index), Mount(ASSETS, app=_Assets(directory=FOLDER))]


def policy(page: str) -> str:
    """Nothing but what comes from here, and of scripts in the page its map of imports alone."""
    (imports,) = _IMPORT_MAP.findall(page)
    digest = base64.b64encode(hashlib.sha256(imports.encode()).digest()).decode()
    return (
        "default-src 'none'; connect-src 'self'; img-src 'self' data:; style-src 'self'; "
        f"script-src 'self' 'sha256-{digest}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


class _Assets(StaticFiles):
    """With an ETag each; browsers ask whether it still holds, and are answered 304."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response
