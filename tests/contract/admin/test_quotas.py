"""Quotas over the wire: set by operators, told with their use, and kept in every dialect."""

from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.contract.server import Server
from tunesmith.domain.accounts import Scope

NOTHING = {"running_jobs": 0, "queued_jobs": 0, "stored_bytes": 0, "tokens_today": 0}
NO_LIMITS = {
    "weight": 1.0,
    "default_priority": 3,
    "max_running_jobs": None,
    "max_queued_jobs": None,
    "max_stored_bytes": None,
    "max_tokens_per_day": None,
}


def ask(server: Server, secret: str, method: str, path: str, **content: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    url = f"{server.url}{path}"
    with httpx.Client(trust_env=False) as client:
        return client.request(method, url, headers=headers, **content)


@pytest.fixture
def operator(server: Server) -> str:
    return server.new_caller(frozenset({Scope.OPERATOR})).secret


@pytest.fixture
def quota(server: Server, operator: str) -> str:
    """The path of a new organization's."""
    slug = f"q-{uuid4().hex[:16]}"
    path = "/admin/v1/organizations"
    assert ask(server, operator, "POST", path, json={"name": "Q", "slug": slug}).is_success
    return f"{path}/{slug}/quota"


def test_what_is_sent_changes_and_null_takes_a_limit_away(
    server: Server, operator: str, quota: str
) -> None:
    assert ask(server, operator, "GET", quota).json() == {**NO_LIMITS, "use": NOTHING}
    changes = {"weight": 2.5, "max_queued_jobs": 3, "max_stored_bytes": 2**62}
    changed = ask(server, operator, "PATCH", quota, json=changes)
    assert changed.json() == {**NO_LIMITS, **changes, "use": NOTHING}
    ask(server, operator, "PATCH", quota, json={"max_queued_jobs": None})
    told = ask(server, operator, "GET", quota).json()
    assert told == {**NO_LIMITS, **changes, "max_queued_jobs": None, "use": NOTHING}


@pytest.mark.parametrize(
    "body",
    [
        {"max_running_jobs": -1},
        {"max_running_jobs": 2**31},
        {"max_stored_bytes": 2**63},
        {"weight": 0},
        {"weight": None},
        {"default_priority": 6},
        {"max_jobs": 1},
    ],
    ids=str,
)
def test_what_is_no_quota_is_refused_by_name(
    server: Server, operator: str, quota: str, body: dict[str, Any]
) -> None:
    refused = ask(server, operator, "PATCH", quota, json=body)
    assert refused.status_code == 400
    assert next(iter(body)) in refused.text


def test_admins_see_their_own_and_set_none(server: Server, quota: str) -> None:
    admin = server.new_caller(frozenset({Scope.ADMIN}))
    own = f"/admin/v1/organizations/{admin.organization.slug}/quota"
    assert ask(server, admin.secret, "GET", own).json()["use"] == NOTHING
    assert ask(server, admin.secret, "GET", quota).status_code == 404
    assert ask(server, admin.secret, "PATCH", own, json={"weight": 9.0}).status_code == 403


@pytest.mark.parametrize("path", ["/v1/files", "/api/v1/datasets"])
def test_a_full_quota_is_named_with_its_use_and_what_frees_it(
    server: Server, operator: str, path: str
) -> None:
    caller = server.new_caller()
    own = f"/admin/v1/organizations/{caller.organization.slug}/quota"
    ask(server, operator, "PATCH", own, json={"max_stored_bytes": 10})
    row = b'{"messages": [{"role": "user", "content": "a"}]}\n'
    sent = {"files": {"file": ("a.jsonl", row)}, "data": {"purpose": "fine-tune"}}
    if path == "/api/v1/datasets":
        del sent["data"]
    refused = ask(server, caller.secret, "POST", path, **sent)
    assert refused.status_code == 429
    for told in ("max_stored_bytes", "10 bytes", "has stored 0", "Delete files"):
        assert told in refused.text
