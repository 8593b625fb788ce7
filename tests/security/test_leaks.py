"""No route tells an organization anything of another one: walked from the tables of routes.

A route that is added is walked without being named here; one that the walk knows no request for
fails it.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.contract.server import now
from tests.security import asks
from tests.security.routes import PREFIXES, Route, all_routes
from tests.security.world import House, Ids, Tenant, absent, reader_of, running, yesterday
from tunesmith.domain.accounts import USER_SCOPES, Organization, Scope
from tunesmith.domain.paging import PageRequest

# Documents and signs of life, which hold nothing of anybody.
OPEN = {
    *(
        f"{method} {prefix}/{page}"
        for prefix in PREFIXES
        for page in ("openapi.json", "docs", "docs/oauth2-redirect", "redoc")
        for method in ("GET", "HEAD")
    ),
    "GET /",
    "HEAD /",
    "GET /livez",
    "GET /healthz",
    "GET /readyz",
}
SOCKETS = {"WEBSOCKET /fleet/v1/tokens"}  # tests/unit/fleet/test_hub.py
# What every key may ask: which models there are, and whose key it is.
NEEDS_NO_SCOPE = {
    "GET /v1/models",
    "GET /v1/models/{name:path}",
    "GET /api/v1/auth/whoami",
    "GET /client/v4/user",
    "GET /client/v4/user/tokens/verify",
    "GET /client/v4/accounts",
    "GET /client/v4/memberships",
    *(
        f"GET /client/v4/accounts/{{account_id}}/ai/{name}"
        for name in (
            "models/search",
            "models/schema",
            "tasks/search",
            "authors/search",
            "v1/models",
        )
    ),
    # Not served; every key is told so.
    "POST /v1/responses/input_tokens",
    "POST /v1/responses/compact",
    "GET /v1/responses/{response_id}",
    "DELETE /v1/responses/{response_id}",
    "POST /v1/responses/{response_id}/cancel",
    "GET /v1/responses/{response_id}/input_items",
}
_TIME = re.compile(r"20\d\d-\d\d-\d\dT[\d:.]+Z|(?<=\"created_at\":)\d+")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
VARIES = {"x-request-id", "date", "openai-processing-ms"}  # by request, whatever is asked


def is_walked(route: Route) -> bool:
    return str(route) not in OPEN | SOCKETS


def comparable(answer: httpx.Response, ids: Ids) -> Any:
    """All of an answer but what was sent and what is new with each request."""
    headers = {name: value for name, value in answer.headers.items() if name not in VARIES}
    headers.pop("openai-organization", None)  # the caller's own
    body = answer.text.replace(answer.headers["x-request-id"], "<request>")
    if answer.is_success:  # with the ids of what it has made
        body = _UUID.sub("<made>", body)
    for value in sorted(ids.values(), key=len, reverse=True):
        body = body.replace(value, "<id>")
    return answer.status_code, headers, _TIME.sub("<time>", body)


def with_own(ids: Ids, own: Ids) -> Ids:
    """`own_...` is the caller's, whosever the others are."""
    return {
        **ids,
        "response_id": "resp_1",
        "dataset_file": f"{ids['reference']}-set.jsonl",
        "own_file": own["file_id"],
        "own_dataset": own["dataset_id"],
        "own_trained": own["trained_job"],
        "own_name": own["name"],
        "own_account": own["account_id"],
    }


@pytest.fixture(scope="package")
def admin_of_rival(house: House, rival: Tenant) -> str:
    """All that an organization can have."""
    return house.key(rival.owner, frozenset(Scope) - {Scope.OPERATOR, Scope.WORKER})


def walked(house: House) -> Iterator[tuple[Route, asks.Ask]]:
    for route in all_routes(house.app):
        if is_walked(route):
            for ask in asks.asks_of(route):
                yield route, ask


def test_every_ask_is_of_a_route_that_there_is(house: House) -> None:
    known = {re.sub(":path", "", str(route)) for route in all_routes(house.app)}
    assert set(asks.ASKS) - known == set()


def test_what_is_another_organizations_answers_as_what_is_not_there(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("asked") / "data") as house:
        _compare(house, Tenant(house, "rival").settle(), Tenant(house, "zebra").settle())


def _compare(house: House, rival: Tenant, acme: Tenant) -> None:
    secret = house.key(rival.owner, frozenset(Scope) - {Scope.OPERATOR, Scope.WORKER})
    nobodys = with_own(absent(acme.ids), rival.ids)
    theirs = with_own(acme.ids, rival.ids)
    compared, refused, leaks = 0, 0, []
    for route, ask in walked(house):
        names = asks.names_in(route, ask)
        if not {name for name in names if not name.startswith("own_")} - {"response_id"}:
            continue
        if route.prefix == "/fleet/v1":
            continue  # no organization has a worker's key
        answers = [asks.send(house, route, ask, ids, secret) for ids in (theirs, nobodys)]
        found, missing = (
            comparable(answer, ids) for answer, ids in zip(answers, (theirs, nobodys), strict=True)
        )
        if found != missing:
            leaks.append((str(route), ask, found, missing))
        compared += 1
        refused += answers[0].status_code >= 400
    print(f"{compared} requests compared, {refused} of them refused")
    assert leaks == []
    assert compared > 80


def test_nothing_of_another_organization_is_in_any_answer(
    house: House, rival: Tenant, acme: Tenant, admin_of_rival: str
) -> None:
    own = with_own(rival.ids, rival.ids)
    secrets = {value for name, value in acme.ids.items() if value not in rival.ids.values()}
    secrets |= {acme.word, acme.owner.name, acme.owner.id.hex}
    leaks = []
    for route, ask in walked(house):
        if route.method in ("GET", "HEAD") and route.prefix != "/fleet/v1":
            answer = asks.send(house, route, ask, own, admin_of_rival)
            said = answer.text + str(answer.headers)
            leaks += [(str(route), ask, secret) for secret in secrets if secret in said]
    assert leaks == []


def test_lists_counts_and_searches_do_not_change_with_what_others_have(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with running(tmp_path_factory.mktemp("quiet") / "data") as house:
        rival = Tenant(house, "rival").settle()
        secret = house.key(rival.owner, frozenset(Scope) - {Scope.OPERATOR, Scope.WORKER})
        ids = with_own(rival.ids, rival.ids)
        reads = [
            (route, ask)
            for route, ask in walked(house)
            if route.method == "GET" and route.prefix != "/fleet/v1"
        ]

        def read_all() -> list[Any]:
            return [comparable(asks.send(house, *read, ids, secret), {}) for read in reads]

        before = read_all()
        Tenant(house, "zebra").settle()
        after = read_all()
    pairs = zip(reads, before, after, strict=True)
    assert [(str(read[0]), was, is_now) for read, was, is_now in pairs if was != is_now] == []


@pytest.mark.parametrize(
    ("which", "statuses"),
    [
        ("none", {401}),
        ("unknown", {401}),
        ("revoked", {401}),
        ("expired", {401}),
        ("suspended", {401}),
        ("without a user", {401}),
        ("without a scope", {403}),
    ],
)
def test_no_route_lets_in_a_key_that_is_not_good(
    house: House, rival: Tenant, acme: Tenant, which: str, statuses: set[int]
) -> None:
    secret = bad_key(house, rival, which)
    ids = with_own(acme.ids, rival.ids)
    let_in = []
    for route, ask in walked(house):
        if which == "without a scope" and str(route) in NEEDS_NO_SCOPE:
            continue
        answer = asks.send(house, route, ask, ids, secret)
        if answer.status_code not in statuses:
            let_in.append((str(route), answer.status_code, answer.text))
        assert acme.owner.name not in answer.text
        assert secret is None or secret not in answer.text
    assert let_in == []


def bad_key(house: House, tenant: Tenant, which: str) -> str | None:
    everything = frozenset(Scope)
    match which:
        case "unknown":
            return "ts_" + "x" * 43
        case "revoked":
            return house.key(tenant.owner, everything, revoked_at=yesterday())
        case "expired":
            return house.key(tenant.owner, everything, expires_at=yesterday())
        case "without a user":
            return house.key(tenant.owner, everything, user_id=tenant.owner.id)
        case "without a scope":
            return house.key(tenant.owner, frozenset())
        case "suspended":
            owner = Organization(
                id=tenant.owner.id.__class__(int=tenant.owner.id.int ^ 1),
                name="Suspended",
                slug="suspended",
                created_at=now(),
                suspended_at=now(),
            )
            with house.foundation.database.write() as store:
                store.accounts.add_organization(owner)
            return house.key(owner, everything)
    return None


def test_dead_keys_are_answered_as_unknown_ones(house: House, rival: Tenant) -> None:
    kinds = ("unknown", "revoked", "expired", "without a user")
    secrets = [bad_key(house, rival, kind) for kind in kinds]
    for path in ("/v1/models", "/api/v1/datasets", "/admin/v1/keys", "/fleet/v1/blobs/a"):
        told = {
            re.sub("ts_[^*]*", "", comparable(house.ask("GET", path, secret), {})[2])
            for secret in secrets
        }
        assert len(told) == 1, path


def test_a_reader_changes_nothing(house: House, rival: Tenant) -> None:
    secret = reader_of(rival)
    ids = with_own(rival.ids, rival.ids)
    let_in = []
    for route, ask in walked(house):
        if route.method in ("GET", "HEAD") or str(route) in NEEDS_NO_SCOPE:
            continue
        answer = asks.send(house, route, ask, ids, secret)
        if "estimate" in route.path or "graders" in route.path:
            continue  # for whoever reads jobs
        if answer.status_code != 403:
            let_in.append((str(route), answer.status_code, answer.text))
    assert let_in == []


def test_an_organizations_admin_is_no_operator(house: House, admin_of_rival: str) -> None:
    """Nor can they make a key of one, or a worker's, which reads all files."""
    for path in ("organizations", "base-models", "known-models"):
        assert house.ask("GET", f"/admin/v1/{path}", admin_of_rival).status_code == 403
    for scope in (Scope.OPERATOR, Scope.WORKER):
        body = {"name": "a", "scopes": [scope]}
        made = house.ask("POST", "/admin/v1/keys", admin_of_rival, json=body)
        assert made.status_code == 403


def test_an_admin_cannot_take_over_a_key_that_may_more(
    house: House, rival: Tenant, admin_of_rival: str
) -> None:
    house.key(rival.owner, frozenset({Scope.OPERATOR}), name="greater")
    listed = house.ask("GET", "/admin/v1/keys", admin_of_rival).json()
    greater = next(key["id"] for key in listed if key["name"] == "greater")
    path = f"/admin/v1/keys/{greater}"
    assert house.ask("POST", f"{path}/rotate", admin_of_rival, json={}).status_code == 403
    assert house.ask("PATCH", path, admin_of_rival, json={"name": "a"}).status_code == 403
    assert house.ask("DELETE", path, admin_of_rival).status_code == 403


def test_bytes_that_another_organization_has_are_stored_with_the_same_work(
    house: House, rival: Tenant, acme: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the answer nor what is done for it depends on whether the bytes are there."""
    done: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: done.append("fsync") or fsync(descriptor))

    def upload(tenant: Tenant, rows: bytes) -> tuple[Any, int, list[str]]:
        done.clear()
        secret = house.key(tenant.owner, USER_SCOPES)
        answer = house.ask(
            "POST",
            "/v1/files",
            secret,
            data={"purpose": "fine-tune"},
            files={"file": ("a.jsonl", rows)},
        )
        with house.foundation.database.read() as store:
            file = store.files.list_page(tenant.owner.id, _newest(), now()).items[0]
        inode = house.foundation.house.blobs.path(file.blob.sha256).stat().st_ino
        ids = {"file": answer.json()["id"], "organization": tenant.owner.slug}
        return comparable(answer, ids), inode, list(done)

    fresh = asks.ROWS + b'{"messages": []}\n'
    first, first_inode, first_work = upload(acme, fresh)
    again, again_inode, again_work = upload(rival, fresh)
    assert first == again
    assert first_work == again_work
    assert first_inode != again_inode  # written anew, and put in the other's place


def _newest() -> Any:
    return PageRequest(limit=1)
