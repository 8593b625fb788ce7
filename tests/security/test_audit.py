"""Who did what is written down, by every route that changes anything, and can be proven."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import httpx
import pytest
import sqlalchemy as sa

from tests.contract.server import now
from tests.security import asks
from tests.security.routes import Route, all_routes
from tests.security.test_leaks import NEEDS_NO_SCOPE, is_walked, with_own
from tests.security.world import House, Tenant
from tunesmith.dialects.openai import translate as openai
from tunesmith.dialects.platform import translate as platform
from tunesmith.domain.accounts import Scope
from tunesmith.domain.audit import FIRST, AuditEntry, Outcome, verify
from tunesmith.store.tables import audit_entries

# Routes that ask and change nothing, and those of workers, whose doings are a job's events.
CHANGES_NOTHING = {
    *(route for route in NEEDS_NO_SCOPE),
    *(
        f"POST /v1/{kind}"
        for kind in ("chat/completions", "completions", "responses", "embeddings")
    ),
    *(
        f"POST /client/v4/accounts/{{account_id}}/ai/v1/{kind}"
        for kind in ("chat/completions", "completions", "responses", "embeddings")
    ),
    "POST /client/v4/accounts/{account_id}/ai/run/{model:path}",
    "POST /api/v1/ai/chat/completions",
    "POST /v1/fine_tuning/alpha/graders/run",
    "POST /v1/fine_tuning/alpha/graders/validate",
    "POST /api/v1/fine-tuning/estimate-cost",
    "POST /api/v1/fine-tuning/estimates",
    "POST /admin/v1/estimates",
    "POST /fleet/v1/register",
    "POST /fleet/v1/lease",
    "POST /fleet/v1/jobs/{job_id}/attempts/{attempt}/reports",
    "PUT /fleet/v1/blobs/{sha256}",
}
# What must have happened before, or is asked of another of the tenant's things.
OTHERWISE = {
    "POST /v1/fine_tuning/jobs/{job_id}/resume": asks.Ask(path={"job_id": "{paused_job}"}),
    "POST /client/v4/accounts/{account_id}/ai/finetunes/{finetune:path}/finetune-assets": asks.Ask(
        path={"finetune": "{empty_finetune}"},
        form={"file_name": "adapter_config.json"},
        files={"file": ("a", asks.adapter_files.config())},
    ),
    "POST /api/v1/fine-tuning/jobs/{job_id}/stop": asks.Ask(path={"job_id": "{waiting_job}"}),
    "POST /api/v1/fine-tuning/jobs/{job_id}/restart": asks.Ask(path={"job_id": "{stopped_job}"}),
    "DELETE /admin/v1/base-models/{name:path}": asks.Ask(path={"name": "put"}),
}


def entries_of(house: House, tenant: Tenant) -> tuple[AuditEntry, ...]:
    with house.foundation.database.read() as store:
        return tuple(store.audit.all_of(tenant.owner.id))


def test_every_route_that_changes_anything_leaves_an_entry(house: House) -> None:
    routes = [
        route
        for route in all_routes(house.app)
        if is_walked(route) and route.method not in ("GET", "HEAD")
    ]
    assert {str(route) for route in all_routes(house.app)} >= CHANGES_NOTHING
    silent, failed = [], []
    tenants = (_whole(house, f"tenant-{number}") for number in range(100))
    tenant = next(tenants)
    for route in routes:
        if str(route) in CHANGES_NOTHING:
            continue
        answer = _ask(house, route, tenant)
        if not answer.is_success:  # what came before has changed it: another time, with a new one
            tenant = next(tenants)
            answer = _ask(house, route, tenant)
        if not answer.is_success:
            failed.append((str(route), answer.status_code, answer.text))
        written = (*entries_of(house, tenant), *_of_new_organization(house, route))
        request = answer.headers["x-request-id"]
        if not any(entry.request_id == request for entry in written):
            silent.append(str(route))
    assert failed == [], failed
    assert silent == []


def _of_new_organization(house: House, route: Route) -> tuple[AuditEntry, ...]:
    if str(route) != "POST /admin/v1/organizations":
        return ()
    with house.foundation.database.read() as store:
        new = store.accounts.find_organization("new")
        assert new is not None
        return tuple(store.audit.all_of(new.id))


def _whole(house: House, word: str) -> Tenant:
    tenant = Tenant(house, word).settle()
    path = f"/client/v4/accounts/{tenant.owner.id.hex}/ai/finetunes"
    body = {"model": asks.MODEL, "name": "empty"}
    tenant.ids["empty_finetune"] = tenant.ask("POST", path, json=body)["result"]["id"]
    put = asks.ASKS["PUT /admin/v1/base-models"][0].body
    house.ask("PUT", "/admin/v1/base-models", tenant.secret, json=put)
    tenant.ids["paused_job"] = tenant.paused_job()
    paused = SimpleNamespace(id=openai.inner_id("job", tenant.ids["paused_job"]))
    queued = tenant.ask("GET", "/api/v1/fine-tuning/jobs?status=queued")["jobs"]
    listed = [job["id"] for job in queued if job["id"] != platform.job_id(paused)]
    tenant.ids["waiting_job"], tenant.ids["stopped_job"], *_ = listed
    tenant.ask("POST", f"/api/v1/fine-tuning/jobs/{tenant.ids['stopped_job']}/stop")
    return tenant


def _ask(house: House, route: Route, tenant: Tenant) -> httpx.Response:
    ids = with_own(tenant.ids, tenant.ids)
    ask = OTHERWISE.get(str(route)) or asks.asks_of(route)[0]
    answer: httpx.Response = asks.send(house, route, ask, ids, tenant.secret)
    return answer


def test_an_entry_says_who_and_what_and_nothing_that_is_secret(house: House) -> None:
    tenant = Tenant(house, "careful")
    path, body = "/admin/v1/webhooks", {"url": "https://example.org/hidden?token=abc"}
    answer = house.ask("POST", path, tenant.secret, json=body)
    made = answer.json()
    (entry,) = entries_of(house, tenant)
    assert (entry.action, entry.object) == ("webhook.create", f"webhook {made['id']}")
    assert (entry.ip, entry.request_id) == ("127.0.0.1", answer.headers["x-request-id"])
    assert entry.key_id is not None
    assert entry.before is None
    assert entry.after is not None
    shown = house.ask("GET", "/admin/v1/audit", tenant.secret).text
    assert made["secret"] not in shown
    assert "token=abc" not in shown


def test_what_is_rolled_back_leaves_no_entry(house: House) -> None:
    tenant = Tenant(house, "undone")
    body = {"name": "a", "scopes": ["inference"], "user": "nobody@example.org"}
    assert house.ask("POST", "/admin/v1/keys", tenant.secret, json=body).status_code == 404
    assert entries_of(house, tenant) == ()


@pytest.mark.parametrize("reason", ["permission_denied", "unauthenticated"])
def test_what_was_denied_is_written_down_and_bounded(house: House, reason: str) -> None:
    tenant = Tenant(house, f"denied-{reason[:4]}")
    dead = {"revoked_at": tenant.owner.created_at} if reason == "unauthenticated" else {}
    weak = house.key(tenant.owner, frozenset({Scope.INFERENCE}), **dead)
    for _ in range(130):
        house.ask("GET", f"/v1/files/{openai.file_id(uuid4())}", weak)
    with house.foundation.database.write() as store:
        house.foundation.sightings.take().write(store)
    denied = [e for e in entries_of(house, tenant) if e.outcome is Outcome.DENIED]
    assert {entry.action for entry in denied} == {reason}
    assert sum(entry.times for entry in denied) == 130
    assert len(denied) == 101
    assert verify(entries_of(house, tenant)).broken_at is None


@pytest.mark.parametrize(
    "damage",
    [
        {"action": "file.create"},
        {"object": "another"},
        {"after": "0" * 64},
        {"times": 7},
        {"digest": "1" * 64},
    ],
    ids=str,
)
def test_an_entry_that_was_changed_is_found(damage: dict[str, Any]) -> None:
    entries = _chain()
    damaged = [replace(entries[1], **damage) if e is entries[1] else e for e in entries]
    assert verify(entries).broken_at is None
    assert verify(damaged).broken_at == 2


def test_an_entry_that_was_taken_out_or_put_elsewhere_is_found() -> None:
    first, second, third = _chain()
    assert verify([first, third]).broken_at == 3
    assert verify([first, third, second]).broken_at == 3
    resealed = replace(second, action="a")
    resealed = replace(resealed, digest=resealed.computed_digest())
    assert verify([first, resealed, third]).broken_at == 3
    assert verify([second, third]).first == 2  # older ones may have been cleared away


def _chain() -> list[AuditEntry]:
    plain = AuditEntry(
        organization_id=uuid4(),
        created_at=now(),
        outcome=Outcome.DONE,
        action="job.stop",
        object="job 1",
    )
    entries, digest = [], FIRST
    for number in range(3):
        entry = plain.following(number, digest)
        entries.append(entry)
        digest = entry.digest
    return entries


def test_damage_in_the_database_is_told_and_the_export_has_every_line(house: House) -> None:
    tenant = Tenant(house, "damaged")
    for name in ("a", "b", "c"):
        body = {"name": name, "scopes": ["inference"]}
        house.ask("POST", "/admin/v1/keys", tenant.secret, json=body)
    verdict = house.ask("GET", "/admin/v1/audit/verify", tenant.secret).json()
    assert (verdict["ok"], verdict["num_entries"]) == (True, 3)
    lines = house.ask("GET", "/admin/v1/audit/export", tenant.secret).text.splitlines()
    assert [json.loads(line)["number"] for line in lines] == [1, 2, 3]
    assert json.loads(lines[-1])["digest"] == verdict["head"]
    engine = sa.create_engine(f"sqlite:///{house.data_dir / 'tunesmith.db'}")
    with engine.begin() as connection:
        where = (audit_entries.c.organization_id == tenant.owner.id, audit_entries.c.number == 2)
        connection.execute(sa.update(audit_entries).where(*where).values(object="key other"))
    engine.dispose()
    verdict = house.ask("GET", "/admin/v1/audit/verify", tenant.secret).json()
    assert (verdict["ok"], verdict["broken_at"]) == (False, 2)
