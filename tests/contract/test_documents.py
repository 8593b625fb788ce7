"""What the OpenAPI documents of the Cloudflare and the platform dialect say about all routes."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.server import Server

METHODS = ("get", "post", "put", "delete")
CLOUDFLARE = {"400", "401", "403", "404", "413", "429", "500"}
PLATFORM = {*CLOUDFLARE, "409", "422", "503"}


def operations_of(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                yield f"{method} {path}", operations[method]


@pytest.mark.parametrize(("dialect", "statuses"), [("cf", CLOUDFLARE), ("platform", PLATFORM)])
def test_every_route_declares_the_errors_that_it_answers(
    server: Server, dialect: str, statuses: set[str]
) -> None:
    app = server.cloudflare_app if dialect == "cf" else server.platform_app
    for name, operation in operations_of(app.openapi()):
        errors = {status for status in operation["responses"] if not status.startswith("2")}
        can_run = dialect == "cf" and ("/ai/run/" in name or "/ai/v1/" in name)
        assert errors == statuses | ({"405"} if can_run else set()), name


def test_every_name_in_a_path_is_declared(server: Server) -> None:
    for app in (server.cloudflare_app, server.platform_app):
        for name, operation in operations_of(app.openapi()):
            declared = {parameter["name"] for parameter in operation.get("parameters", ())}
            for part in name.split("/"):
                if part.startswith("{"):
                    assert part.strip("{}") in declared, name


def test_routes_that_stream_declare_it(server: Server) -> None:
    streaming = {
        name
        for app in (server.cloudflare_app, server.platform_app)
        for name, operation in operations_of(app.openapi())
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
    }
    below = "post /accounts/{account_id}/ai"
    assert streaming == {
        f"{below}/run/{{model}}",
        f"{below}/v1/chat/completions",
        f"{below}/v1/completions",
        f"{below}/v1/responses",
        "post /ai/chat/completions",
    }


def test_each_way_to_say_who_one_is_is_declared(server: Server) -> None:
    account = server.cloudflare_app.openapi()
    assert account["security"] == [{"token": []}, {"email": [], "key": []}]
    assert set(account["components"]["securitySchemes"]) == {"token", "email", "key"}
    platform = server.platform_app.openapi()
    assert platform["security"] == [{"key": []}, {"bearer": []}]
