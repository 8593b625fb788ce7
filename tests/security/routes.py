"""Every route of the application, read from its tables: what is added is here by itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

PREFIXES = ("/v1", "/client/v4", "/api/v1", "/admin/v1", "/fleet/v1")


@dataclass(frozen=True, order=True)
class Route:
    prefix: str
    method: str
    path: str  # as it is declared, below the prefix

    def __str__(self) -> str:
        return f"{self.method} {self.prefix}{self.path}"


def all_routes(app: FastAPI) -> list[Route]:
    return sorted({Route(*found) for found in _walk(app, "")})


def _walk(app: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    for route in app.routes:
        if hasattr(route, "effective_route_contexts"):
            for inner in route.effective_route_contexts():
                yield from _methods(inner, prefix)
        elif isinstance(getattr(route, "app", None), StaticFiles):
            continue  # the dashboard's files are for everybody
        elif hasattr(route, "app") and not hasattr(route, "methods"):
            yield from _walk(route.app, prefix + route.path)
        else:
            yield from _methods(route, prefix)


def _methods(route: Any, prefix: str) -> Iterator[tuple[str, str, str]]:
    path = route.path or f"/{route.original_route.path.strip('/')}"
    for method in route.methods or ("WEBSOCKET",):
        yield prefix, method, path
