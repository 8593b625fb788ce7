"""Finetunes: create, list, retrieve, delete, and those that everybody sees."""

import json
from datetime import datetime
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests import adapter_files
from tests.contract.cloudflare.support import (
    CONFIG,
    MODEL,
    WEIGHTS,
    Account,
    limits,
    refused,
    result,
)
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope
from tunesmith.domain.paging import PageRequest

ALL = PageRequest(limit=100)
UNKNOWN = "00000000-0000-4000-8000-000000000000"
EXAMPLE = {
    "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
}
EXAMPLES = "\n".join(json.dumps(EXAMPLE) for _ in range(10)).encode()


def test_a_finetune_is_created_and_listed(account: Account) -> None:
    created = account.created("first", description="d")
    assert set(created) == {
        "id", "created_at", "model", "modified_at", "name", "public", "description",
    }  # fmt: skip
    assert (created["model"], created["name"], created["public"]) == (MODEL, "first", False)
    assert str(UUID(created["id"])) == created["id"]
    assert created["created_at"].endswith("Z")
    datetime.fromisoformat(created["created_at"])
    account.created("second")
    listed = account.list_()
    assert [finetune["name"] for finetune in listed] == ["second", "first"]
    assert listed[1] == {**created, "status": "incomplete", "metrics": None, "error": None}


def test_an_account_without_finetunes_has_an_empty_list(account: Account) -> None:
    assert account.list_() == []


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain;charset=UTF-8"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "application/json"},
        {},
    ],
)
def test_a_body_is_json_whatever_it_is_called(account: Account, headers: dict[str, str]) -> None:
    body = json.dumps({"model": MODEL, "name": "n", "description": ""}).encode()
    created = result(account.http.post("/finetunes", content=body, headers=headers))
    assert created["description"] == ""


@pytest.mark.parametrize("path", ["/finetunes/", "//finetunes", "/finetunes?", "//finetunes//"])
def test_paths_are_taken_as_clients_send_them(account: Account, path: str) -> None:
    base = str(account.http.base_url).rstrip("/")
    headers = account.http.headers
    body = {"model": MODEL, "name": "n"}
    assert httpx.post(f"{base}{path}", json=body, headers=headers).status_code == 200
    assert len(result(httpx.get(f"{base}{path}", headers=headers))) == 1


def test_asking_again_before_it_is_whole_begins_anew(account: Account) -> None:
    first = account.created("again", description="old")
    result(account.upload(first["id"], CONFIG, adapter_files.config(rank=2)))
    second = account.created("again", description="new")
    assert second["id"] == first["id"]
    assert second["description"] == "new"
    assert account.file_names("again") == []
    result(account.upload("again", CONFIG, adapter_files.config(rank=4)))


def test_the_same_request_twice_makes_one_finetune(account: Account) -> None:
    assert account.created("once") == account.created("once")
    assert len(account.list_()) == 1


def test_a_name_is_in_use_once_its_finetune_is_whole(account: Account) -> None:
    account.whole("taken")
    (error,) = refused(account.create("taken"), 400, 3003)
    assert "in use" in error["message"]


def test_a_name_of_another_base_model_is_in_use(account: Account) -> None:
    account.created("taken")
    refused(account.http.post("/finetunes", json={"model": BASE, "name": "taken"}), 400, 3003)


def test_names_are_of_one_account(account: Account, stranger: Account) -> None:
    assert account.created("same")["id"] != stranger.created("same")["id"]


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "n" * 129,
        UNKNOWN,
        UNKNOWN.replace("-", ""),
        "public",
        "cf-public-x",
        "a/finetune-assets",
        "line\nbreak",
        "nul\0",
        "\ud800",
        7,
        None,
        ["a"],
    ],
)
def test_names_that_would_mislead_are_refused(account: Account, name: Any) -> None:
    body = json.dumps({"model": MODEL, "name": name}).encode()
    refused(account.http.post("/finetunes", content=body), 400, 3003)
    assert account.list_() == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"name": "n"}',
        b'{"model": "%s"}' % MODEL.encode(),
        b'{"model": 1, "name": "n"}',
        b'{"model": "%s", "name": "n", "public": "yes"}' % MODEL.encode(),
        b'{"model": "%s", "name": "n", "colour": "red"}' % MODEL.encode(),
        b'{"model": "%s", "name": "n", "description": "%s"}' % (MODEL.encode(), b"d" * 3000),
        b"\xff\xfe",
        b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_bodies_that_say_nothing_good_are_refused(account: Account, body: bytes, kind: str) -> None:
    answer = account.http.post("/finetunes", content=body, headers={"content-type": kind})
    refused(answer, 400, 3003)


@pytest.mark.parametrize("name", ["@cf/tunesmith/tiny-lora", "@cf/tunesmith/tiny", "tiny-llama"])
def test_a_base_model_is_known_by_each_of_its_names(account: Account, name: str) -> None:
    created = result(account.http.post("/finetunes", json={"model": name, "name": "n"}))
    assert created["model"] == name
    assert account.one("n")["model"] == name


def test_an_unknown_base_model_is_told_apart(account: Account) -> None:
    refused(account.create(model="@cf/nobody/nothing"), 400, 5007)


def test_an_account_has_so_many_finetunes_and_no_more(server: Server, account: Account) -> None:
    with limits(server, max_per_organization=1):
        account.created("one")
        account.created("one")
        refused(account.create("two"), 400, 3036)


def test_a_finetune_is_had_by_id_and_by_any_name(account: Account) -> None:
    created = account.created("my name/x")
    for reference in (created["id"], "my%20name%2Fx", "my name/x"):
        assert account.one(reference)["id"] == created["id"]
    assert account.created("/a//b/", public=None)["id"] == account.one("%2Fa%2F%2Fb%2F")["id"]


def test_a_deleted_finetune_is_gone_with_its_model(account: Account, server: Server) -> None:
    finetune = account.whole()
    assert result(account.http.delete("/finetunes/mine")) == {"id": finetune["id"]}
    assert account.list_() == []
    refused(account.http.get("/finetunes/mine"), 404, 7003, 7000)
    with server.database.read() as store:
        assert store.models.list_tuned(account.caller.organization.id) == ()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_what_is_not_there_is_not_found(account: Account, method: str) -> None:
    for reference in (UNKNOWN, "nothing", "a-abcd1234", "a%00", "%ed%a0%80", "%ff"):
        refused(account.http.request(method, f"/finetunes/{reference}"), 404, 7003, 7000)


def test_others_see_nothing_of_a_finetune(account: Account, stranger: Account) -> None:
    finetune = account.whole("secret")
    for reference in (finetune["id"], "secret"):
        refused(stranger.http.get(f"/finetunes/{reference}"), 404, 7003, 7000)
        refused(stranger.http.delete(f"/finetunes/{reference}"), 404, 7003, 7000)
        answer = stranger.upload(reference, CONFIG, adapter_files.config())
        refused(answer, 404, 7003, 7000)
        refused(
            stranger.http.get(f"/finetunes/{reference}/finetune-assets/{CONFIG}"), 404, 7003, 7000
        )
    assert stranger.list_() == []


def test_another_accounts_id_is_forbidden(account: Account, stranger: Account) -> None:
    url = str(account.http.base_url).replace(account.id, stranger.id)
    refused(account.http.get(f"{url}finetunes"), 403, 10000)
    refused(account.http.get(url.replace(stranger.id, "0" * 32) + "finetunes"), 403, 10000)
    body = {"model": MODEL, "name": "theirs"}
    refused(account.http.post(f"{url}finetunes", json=body), 403, 10000)
    assert stranger.list_() == []


@pytest.mark.parametrize("wrong", ["me", "0" * 31, "A" * 32, "0" * 33, "%2e%2e", "a%0ab"])
def test_what_is_no_account_id_leads_nowhere(account: Account, wrong: str) -> None:
    url = str(account.http.base_url).replace(account.id, wrong)
    refused(account.http.get(f"{url}finetunes"), 404, 7003, 7000)


def test_scopes_are_what_permissions_are(server: Server) -> None:
    reading = server.new_caller(frozenset({Scope.JOBS_READ}))
    writing = server.new_caller(frozenset({Scope.JOBS_WRITE}))
    neither = server.new_caller(frozenset({Scope.INFERENCE}))
    with Account(server, reading) as account:
        assert account.list_() == []
        assert result(account.http.get("/finetunes/public")) is not None
        refused(account.create(), 403, 10000)
        refused(account.upload("mine", CONFIG, adapter_files.config()), 403, 10000)
        refused(account.http.delete("/finetunes/mine"), 403, 10000)
    with Account(server, writing) as account:
        account.whole()
        assert len(account.list_()) == 1
    with Account(server, neither) as account:
        refused(account.http.get("/finetunes"), 403, 10000)
        refused(account.http.get("/finetunes/public"), 403, 10000)


def test_a_public_finetune_is_listed_to_all_once_it_answers(
    account: Account, stranger: Account
) -> None:
    account.created("half", public=True)
    whole = account.whole("shared", public=True)
    names = {f["name"]: f for f in result(stranger.http.get("/finetunes/public"))}
    assert "half" not in names
    assert names["shared"]["id"] == whole["id"]
    assert names["shared"]["public"] is True
    assert stranger.list_() == []
    account.http.delete("/finetunes/shared")


def test_the_public_list_is_cut_and_ordered(account: Account, stranger: Account) -> None:
    for name in ("b", "c", "a"):
        account.whole(name, public=True)
    ask = stranger.http

    def names(**query: Any) -> list[str]:
        answer = ask.get("/finetunes/public", params=query)
        return [finetune["name"] for finetune in result(answer)]

    assert names() == ["b", "c", "a"]
    assert names(orderBy="name") == ["a", "b", "c"]
    assert names(orderBy="name", limit=5.0, offset=1) == ["b", "c"]
    assert names(limit="1") == ["b"]
    assert names(limit=0) == []
    assert names(offset=10) == []
    for column in ("id", "model", "created_at", "modified_at"):
        assert sorted(names(orderBy=column)) == ["a", "b", "c"]
    for wrong in (
        {"orderBy": "secret"},
        {"orderBy": ""},
        {"limit": "many"},
        {"limit": -1},
        {"limit": "nan"},
        {"offset": "inf"},
        {"offset": 10**30},
    ):
        refused(ask.get("/finetunes/public", params=wrong), 400, 3003)
    for name in ("a", "b", "c"):
        account.http.delete(f"/finetunes/{name}")


def test_an_operator_can_switch_public_finetunes_off(
    server: Server, account: Account, stranger: Account
) -> None:
    account.whole("open", public=True)
    with limits(server, allows_public=False):
        refused(account.create("new", public=True), 403, 10000)
        assert result(stranger.http.get("/finetunes/public")) == []
    account.http.delete("/finetunes/open")


def test_a_finished_job_of_another_dialect_is_a_finetune(
    server: Server, account: Account, worker: Worker
) -> None:
    training = {"Authorization": account.http.headers["Authorization"]}
    base = f"{account.http.base_url.scheme}://{account.http.base_url.netloc.decode()}/v1"
    file = httpx.post(
        f"{base}/files",
        headers=training,
        data={"purpose": "fine-tune"},
        files={"file": ("train.jsonl", EXAMPLES)},
    ).json()
    job = httpx.post(
        f"{base}/fine_tuning/jobs",
        headers=training,
        json={"model": MODEL, "training_file": file["id"], "suffix": "ours"},
    ).json()
    assert account.list_() == []
    with server.database.read() as store:
        (job_id,) = [
            found.id for found in store.jobs.list_page(account.caller.organization.id, ALL).items
        ]
    worker.train(job_id)
    (finetune,) = account.list_()
    assert finetune["model"] == MODEL
    assert finetune["status"] == "ready"
    tuned = httpx.get(f"{base}/fine_tuning/jobs/{job['id']}", headers=training).json()
    short_id = tuned["fine_tuned_model"].rpartition(":")[2]
    assert finetune["name"] == f"ours-{short_id}"
    assert account.one(finetune["name"]) == account.one(finetune["id"]) == finetune
    path = f"/finetunes/{finetune['id']}/finetune-assets"
    assert [asset["file_name"] for asset in result(account.http.get(path))] == [WEIGHTS]
    assert account.http.get(f"{path}/{WEIGHTS}").content == b"weights of step 4"
    refused(account.upload(finetune["id"], WEIGHTS, adapter_files.weights()), 400, 5004)
    account.http.delete(f"/finetunes/{finetune['id']}")
    assert account.list_() == []
