"""What the OpenAPI document says about all routes."""

from typing import Any

import httpx
import pytest

METHODS = ("get", "post", "put", "delete")


@pytest.fixture
def operations(http: httpx.Client) -> dict[str, Any]:
    paths = http.get("/openapi.json").json()["paths"]
    return {
        f"{method} {path}": operations[method]
        for path, operations in paths.items()
        for method in METHODS
        if method in operations
    }


def test_every_route_declares_the_errors_that_it_answers(operations: dict[str, Any]) -> None:
    assert operations
    for name, operation in operations.items():
        errors = {status for status in operation["responses"] if not status.startswith("2")}
        assert errors == {"400", "401", "403", "404", "413", "429", "500", "503"}, name
        for status in errors:
            schema = operation["responses"][status]["content"]["application/json"]["schema"]
            assert schema == {"$ref": "#/components/schemas/ErrorBody"}, name


def test_routes_that_stream_declare_it(operations: dict[str, Any]) -> None:
    for name in ("post /chat/completions", "post /completions"):
        content = operations[name]["responses"]["200"]["content"]
        assert set(content) == {"application/json", "text/event-stream"}
    assert set(operations["get /models"]["responses"]["200"]["content"]) == {"application/json"}
