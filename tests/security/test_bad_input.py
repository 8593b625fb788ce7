"""Whatever is sent, the answer is a refusal and never a failure of the server."""

import socket
import time
from typing import Any

import pytest

from tests.security import asks, corpus
from tests.security.routes import Route, all_routes
from tests.security.test_leaks import is_walked, with_own
from tests.security.world import House, Tenant

# These do what they do without looking at a body, or at all that is in one.
HEEDS_NO_BODY = {
    "POST /v1/responses/input_tokens",
    "POST /v1/responses/compact",
    "PUT /fleet/v1/blobs/{sha256}",
}
JSON = {"content-type": "application/json"}


def routes_with_json(house: House) -> list[tuple[Route, asks.Ask]]:
    found = []
    for route in all_routes(house.app):
        if is_walked(route) and str(route) not in HEEDS_NO_BODY:
            ask = asks.asks_of(route)[0]
            if ask.body is not None:
                found.append((route, ask))
    return found


def send(house: House, tenant: Tenant, route: Route, ask: asks.Ask, body: bytes) -> Any:
    ids = with_own(tenant.ids, tenant.ids)
    path = asks.filled_path(route, ask, ids)
    return house.ask(
        route.method, path, tenant.secret, content=body, headers=JSON, params=ask.query
    )


@pytest.mark.parametrize("name", corpus.BODIES)
def test_a_body_that_is_no_object_is_refused(house: House, rival: Tenant, name: str) -> None:
    accepted = []
    for route, ask in routes_with_json(house):
        answer = send(house, rival, route, ask, corpus.BODIES[name])
        if not 400 <= answer.status_code < 500:
            accepted.append((str(route), answer.status_code, answer.text[:200]))
    assert accepted == []


@pytest.mark.slow
def test_a_field_that_cannot_be_kept_or_told_is_refused(house: House, rival: Tenant) -> None:
    accepted, count = [], 0
    for route, ask in routes_with_json(house):
        body = asks.filled(ask.body, with_own(rival.ids, rival.ids))
        for name, bad in corpus.with_bad_fields(body):
            answer = send(house, rival, route, ask, bad)
            count += 1
            is_refused = 400 <= answer.status_code < 500
            if not is_refused and not _is_only_long(name, answer.status_code):
                accepted.append((str(route), name, answer.status_code, answer.text[:200]))
    print(f"{count} bodies")
    assert accepted == []


def _is_only_long(name: str, status: int) -> bool:
    """A long text may be a prompt: then it is for a worker to say so, and there is none."""
    return name.endswith("a long string") and status in (200, 201, 204, 503)


def test_no_query_makes_the_server_fail(house: House, rival: Tenant) -> None:
    names = ("after", "limit", "order", "offset", "lines", "since", "search", "page", "per_page")
    values = ("\0", "\ud800".encode("utf-8", "surrogatepass"), "9" * 30, "x" * 5000)
    failed = []
    for route in all_routes(house.app):
        if not is_walked(route) or route.method != "GET" or route.prefix == "/fleet/v1":
            continue
        path = asks.filled_path(route, asks.asks_of(route)[0], with_own(rival.ids, rival.ids))
        for value in values:
            for name in names:
                answer = house.ask("GET", path, rival.secret, params={name: value})
                if answer.status_code >= 500:
                    failed.append((str(route), name, value, answer.text[:200]))
    assert failed == []


def test_no_path_makes_the_server_fail(house: House, rival: Tenant) -> None:
    bad = ("%00", "%ff%fe", "%ed%a0%80", "..%2f..", "%2e%2e", "x" * 5000, "%0a", "%u0041", "'--")
    failed = []
    for route in all_routes(house.app):
        if not is_walked(route) or "{" not in route.path:
            continue
        ids = with_own(rival.ids, rival.ids)
        for value in bad:
            ask = asks.Ask(path=dict.fromkeys(asks.parameters_of(route), value))
            answer = house.ask(
                route.method, asks.filled_path(route, ask, ids), rival.secret, json={}
            )
            if answer.status_code >= 500:
                failed.append((str(route), value, answer.text[:200]))
    assert failed == []


@pytest.mark.parametrize("name", corpus.RAW_REQUESTS)
def test_a_request_that_could_be_read_in_two_ways_is_refused(house: House, name: str) -> None:
    answer = exchange(house, corpus.RAW_REQUESTS[name])
    status = answer.split(b" ")[1:2]
    assert status == [] or 400 <= int(status[0]) < 500, answer[:200]
    assert answer.count(b"HTTP/1.1") <= 1  # nothing was taken for a second request
    assert house.ask("GET", "/healthz", None).status_code == 200


def exchange(house: House, sent: bytes) -> bytes:
    """What the server says before it closes, or until it is silent."""
    port = int(house.url.rsplit(":", 1)[1])
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(sent)
            connection.settimeout(1)
            deadline = time.monotonic() + 5
            while time.monotonic() < deadline and (piece := connection.recv(65536)):
                answer += piece
        except (ConnectionError, TimeoutError):
            pass
    return answer


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip"])
def test_an_upload_that_is_compressed_is_refused(house: House, rival: Tenant, coding: str) -> None:
    for path in ("/v1/files", "/api/v1/datasets"):
        answer = house.ask(
            "POST",
            path,
            rival.secret,
            files={"file": ("a.jsonl", asks.ROWS)},
            data={"purpose": "fine-tune"} if path == "/v1/files" else {},
            headers={"content-encoding": coding},
        )
        assert answer.status_code == 400
        assert "encoding" in answer.text


def test_a_bad_row_of_a_file_is_refused_with_its_line(house: House, rival: Tenant) -> None:
    good = asks.EXAMPLE % b"a"
    for name, bad in corpus.BODIES.items():
        if name in ("nothing", "NaN", "two bodies"):
            continue
        rows = good + bad.replace(b"\n", b"") + b"\n"
        files = {"file": ("a.jsonl", rows)}
        answer = house.ask("POST", "/api/v1/datasets", rival.secret, files=files)
        if answer.status_code != 201:  # the rest is for the worker that reads it whole
            assert answer.status_code in (400, 422), name
            assert "ine 2" in answer.text, name
