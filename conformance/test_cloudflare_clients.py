"""Finetunes on a real service, by Cloudflare's own clients: each is asked what it saw."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance import cloudflare_account
from conformance.cloudflare_account import MODEL, TUNED_ANSWER, Account
from conformance.conftest import Figure
from conformance.environments import ROOT, environment, node_modules_with, python_with
from conformance.wrangler import Said, Wrangler
from tests.e2e.service import Service

CLIENTS = ROOT / "conformance" / "clients"
WRANGLER = "4.86.0"
NODE = "7.3.0"
BROAD = "The rank `r` is 64; this server takes up to 32."
IS_READY = "is ready to use"
SEEN_BY_PYTHON = {
    "created": [True, MODEL, False, "of a test"],
    "created again": True,
    "uploaded": [True, True],
    "uploaded again": True,
    "listed": [True, MODEL],
    "uploaded for all": [True, True],
    "public": [True, True],
    "the base says something else": True,
    "tuned": [TUNED_ANSWER] * 3,
    "prompt": [["response", "usage"], ["completion_tokens", "prompt_tokens", "total_tokens"]],
    "raw": True,
    "end of the stream": ["[DONE]", ["response", "usage"]],
    "a stream says the same": TUNED_ANSWER,
    "models are on pages, which end": [True, True],
    "model": ["Text Generation", True],
    "found": [MODEL],
    "schema": ["input", "output"],
    "tasks": ["Text Generation"],
    "author": True,
    "token": "active",
    "by e-mail and key": [True],
    "lists by e-mail and key": True,
    "asynchronously": [True, TUNED_ANSWER, True],
}
REFUSALS = {
    "wrong token": ["AuthenticationError", 401, 10000],
    "wrong token verified": ["AuthenticationError", 401, 1000],
    "malformed token": ["BadRequestError", 400, 6003],
    "e-mail without key": ["AuthenticationError", 401, 10000],
    "another's e-mail": ["AuthenticationError", 401, 10000],
    "read only": ["PermissionDeniedError", 403, 10000],
    "read only upload": ["PermissionDeniedError", 403, 10000],
    "foreign account": ["PermissionDeniedError", 403, 10000],
    "no account": ["NotFoundError", 404, 7003],
    "no such model": ["BadRequestError", 400, 5007],
    "name in use": ["BadRequestError", 400, 3003],
    "reserved name": ["BadRequestError", 400, 3003],
    "rank 64": ["BadRequestError", 400, 5004],
    "pickle": ["BadRequestError", 400, 5004],
    "no finetune": ["NotFoundError", 404, 7003],
    "other bytes": ["BadRequestError", 400, 5004],
    "order": ["BadRequestError", 400, 3003],
    "run without files": ["BadRequestError", 400, 3039],
    "unknown lora": ["BadRequestError", 400, 3037],
    "lora of another model": ["BadRequestError", 400, 3037],
    "run no such model": ["BadRequestError", 400, 5007],
    "run no name": ["NotFoundError", 404, 3042],
    "no prompt": ["BadRequestError", 400, 3003],
    "too long": ["APIStatusError", 413, 3006],
    "no such path": ["NotFoundError", 404, 7003],
}
SEEN_BY_NODE = {
    "created": ["node", MODEL, False],
    "uploaded": [True, True],
    "listed": True,
    "a private one is not public": True,
    "the base says something else": True,
    "tuned": [TUNED_ANSWER] * 2,
    "end of the stream": "[DONE]",
    "a stream says the same": TUNED_ANSWER,
    "models are on pages, which end": True,
    "schema": ["input", "output"],
    "tasks": ["Text Generation"],
    "token": "active",
    "a good key beside a wrong token": True,
    "errors": {
        name: REFUSALS[name]
        for name in (
            "wrong token",
            "read only",
            "foreign account",
            "name in use",
            "unknown lora",
            "no such model",
        )
    },
}


@pytest.fixture(scope="module")
def account(service: Service, tmp_path_factory: pytest.TempPathFactory) -> Account:
    return cloudflare_account.make(service, tmp_path_factory.mktemp("cloudflare"))


@pytest.fixture
def wrangler(needs_node: None, account: Account, tmp_path: Path) -> Wrangler:
    modules = node_modules_with(f"wrangler-{WRANGLER}", f"wrangler@{WRANGLER}")
    return Wrangler(modules, tmp_path / "wrangler", account.base_url)


def test_wrangler_brings_a_finetune_that_answers(
    account: Account, wrangler: Wrangler, service: Service, figure: Figure
) -> None:
    me, create = account.credentials, ("ai", "finetune", "create", MODEL, "of-wrangler")
    refused = wrangler(*create, account.broad, **me)
    assert IS_READY not in refused.out
    assert f"{BROAD} [code: 5004]" in refused.err
    made = wrangler(*create, account.adapter, **me)
    assert (made.code, made.err) == (0, "")
    assert f'"of-wrangler" {IS_READY}' in made.out
    again = wrangler(*create, account.adapter, **me)
    assert IS_READY not in again.out
    assert "The name 'of-wrangler' is in use" in again.err
    (finetune,) = (
        one
        for one in _json(wrangler, "finetune", "list", **me)
        if one["model"] == MODEL and one["name"] == "of-wrangler"
    )
    models = _json(wrangler, "models", **me)
    assert MODEL in [model["name"] for model in models]
    said = {lora: _answer(service, account, lora) for lora in (None, "of-wrangler", finetune["id"])}
    assert said.pop(None) != TUNED_ANSWER
    assert set(said.values()) == {TUNED_ANSWER}
    figure(f"wrangler {WRANGLER}, a finetune that answers", "8 calls as expected")


def test_wrangler_knows_who_asks(account: Account, wrangler: Wrangler, figure: Figure) -> None:
    by_token = wrangler("whoami", **account.credentials)
    assert (by_token.code, by_token.err) == (0, "")
    assert "User API Token" in by_token.out
    assert account.id in by_token.out
    by_email = {"email": account.email, "api_key": account.key}
    known = wrangler("whoami", **by_email)
    assert f"associated with the email {account.email}" in known.out
    assert _json(wrangler, "finetune", "list", **by_email)  # finds out the account
    figure(f"wrangler {WRANGLER}, who asks", "3 calls as expected")


def test_wrangler_says_why_it_is_refused(
    account: Account, wrangler: Wrangler, figure: Figure
) -> None:
    mine, token = {"account_id": account.id}, {"api_token": account.token}
    refusals = {
        "Incorrect API key provided": {**mine, "api_token": "wrong"},
        "credentials are for another account": {**token, "account_id": "0" * 32},
        "The e-mail is not that of the key's owner": {
            **mine, "email": "bob@example.org", "api_key": account.key,
        },
    }  # fmt: skip
    for message, credentials in refusals.items():
        said = wrangler("ai", "finetune", "list", **credentials)
        assert (said.code, _has(said, message)) == (1, True), said
    assert wrangler("ai", "models", **mine, api_token="wrong").code == 1
    refusals["This key lacks the scope 'fine-tuning:write'"] = {
        **mine, "api_token": account.read_only,
    }  # fmt: skip
    create = ("ai", "finetune", "create", MODEL, "refused", account.adapter)
    for message, credentials in refusals.items():
        said = wrangler(*create, **credentials)
        assert IS_READY not in said.out
        assert _has(said, message), said
    names = {one["name"] for one in _json(wrangler, "finetune", "list", **mine, **token)}
    assert "refused" not in names
    said = wrangler(
        "ai", "finetune", "create", "@cf/no/model", "n", account.adapter, **mine, **token
    )
    assert "There is no base model '@cf/no/model'. [code: 5007]" in said.err
    figure(f"wrangler {WRANGLER}, refused", "10 calls as expected")


@pytest.mark.parametrize("version", ["5.9.0", "4.3.1"])
def test_cloudflares_python_client_sees_what_it_knows(
    account: Account, tmp_path: Path, figure: Figure, version: str
) -> None:
    python = python_with(f"cloudflare-{version}", f"cloudflare=={version}")
    seen = _said(python, "cloudflare_sdk.py", account, tmp_path)
    messages = seen.pop("messages")
    assert seen.pop("version") == version
    assert seen.pop("refused") == REFUSALS
    assert seen == SEEN_BY_PYTHON
    assert messages["rank 64"] == BROAD  # as wrangler shows it
    assert "cannot be replaced" in messages["other bytes"]
    num_claims = len(SEEN_BY_PYTHON) + len(REFUSALS) + 3
    figure(f"Cloudflare Python SDK {version}, finetunes that answer", f"{num_claims} claims hold")


def test_cloudflares_node_client_sees_what_it_knows(
    account: Account, tmp_path: Path, figure: Figure, needs_node: None
) -> None:
    folder = node_modules_with(f"cloudflare-node-{NODE}", f"cloudflare@{NODE}")
    seen = _said("node", "cloudflare_sdk.mjs", account, tmp_path, cwd=folder)
    assert seen.pop("version") == NODE
    assert seen == SEEN_BY_NODE
    num_claims = len(SEEN_BY_NODE) + len(SEEN_BY_NODE["errors"])
    figure(f"Cloudflare Node SDK {NODE}, a finetune that answers", f"{num_claims} claims hold")


def test_the_documentations_curl_lines_work(account: Account, figure: Figure) -> None:
    """As they stand there: a slash at the end, no content type or too much of one."""
    url, mine = f"{account.base_url}/accounts/{account.id}/ai", Path(account.adapter)
    bearer = ["-H", f"Authorization: Bearer {account.token}"]
    new = json.dumps({"model": MODEL, "name": "curl", "description": "of curl"})
    made = _curl(f"{url}/finetunes/", *bearer, "-H", "Content-Type: application/json", "-d", new)
    form = [*bearer, "-H", "Content-Type: multipart/form-data"]
    weights, config = mine / "adapter_model.safetensors", mine / "adapter_config.json"
    assert weights.stat().st_size > 2**20  # so that curl asks before it sends
    for file in (weights, config):
        path = f"{url}/finetunes/{made['id']}/finetune-assets/"
        asset = _curl(path, *form, "-F", f"file_name={file.name}", "-F", f"file=@{file}")
        assert asset["file_name"] == file.name
    assert made["id"] in [one["id"] for one in _curl(f"{url}/finetunes", *bearer)]
    asked = {"prompt": "Item 3 is black.", "raw": "true", "lora": "curl"}
    answer = _curl(f"{url}/run/{MODEL}", *bearer, "-d", json.dumps(asked))
    assert isinstance(answer["response"], str)
    chat = {"messages": account.question, **account.options, "lora": made["id"]}
    answer = _curl(f"{url}/run/{MODEL}", *bearer, "-d", json.dumps(chat))
    assert answer["response"] == TUNED_ANSWER
    figure("curl, the documentation's lines", "6 calls as expected")


def _curl(url: str, *words: str) -> Any:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", url, *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["success"], answer
    return answer["result"]


def _said(
    program: str | Path, script: str, account: Account, tmp_path: Path, cwd: Path | None = None
) -> dict[str, Any]:
    """What a client's script printed on its last line."""
    done = subprocess.run(
        [program, CLIENTS / script, account.written_to(tmp_path / "account.json")],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _json(wrangler: Wrangler, *words: str, **credentials: str) -> list[dict[str, Any]]:
    said = wrangler("ai", *words, "--json", **credentials)
    assert (said.code, said.err) == (0, "")
    found: list[dict[str, Any]] = json.loads(said.out)
    return found


def _has(said: Said, message: str) -> bool:
    """On one line or another: it breaks them where it likes."""
    return message in " ".join(said.err.split())


def _answer(service: Service, account: Account, lora: str | None) -> str:
    path = f"{account.base_url}/accounts/{account.id}/ai/run/{MODEL}"
    asked = {"messages": account.question, **account.options, "lora": lora}
    with service.http as http:
        answer = http.post(path, json=asked).raise_for_status()
    return str(answer.json()["result"]["response"])
