"""The whole application, wired as `tunesmith serve` wires it."""

import asyncio
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from tests.factories import base_model
from tunesmith import app as application
from tunesmith.app import ADMIN_KEY_FILE, TINY, WORKER_KEY_FILE, build
from tunesmith.domain.catalog import BaseModel
from tunesmith.settings import Settings
from tunesmith.store.database import Database

SECRET = "a-key-that-the-operator-chose"


def settings(folder: Path, **changes: Any) -> Settings:
    return Settings(data_dir=folder / "data", **changes)


def ask(
    built: application.Application, path: str, secret: str = "", body: object = None
) -> httpx.Response:
    async def in_loop() -> httpx.Response:
        transport = httpx.ASGITransport(app=built.asgi, raise_app_exceptions=False)
        headers = {"authorization": f"Bearer {secret}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as http:
            method = "GET" if body is None else "POST"
            return await http.request(method, path, headers=headers, json=body)

    return asyncio.run(in_loop())


def test_the_first_start_makes_a_key_and_the_second_does_not(tmp_path: Path) -> None:
    first = build(settings(tmp_path))
    assert first.first_key is not None
    second = build(settings(tmp_path))
    assert second.first_key is None
    assert ask(second, "/v1/models", first.first_key).status_code == 200


def test_a_key_that_the_operator_chose_works(tmp_path: Path) -> None:
    built = build(settings(tmp_path, admin_key=SecretStr(SECRET)))
    assert built.first_key is None
    assert ask(built, "/admin/v1/keys", SECRET).status_code == 200


@pytest.mark.parametrize("name", [ADMIN_KEY_FILE, WORKER_KEY_FILE])
def test_the_keys_of_this_machines_processes_are_for_their_owner_alone(
    tmp_path: Path, name: str
) -> None:
    build(settings(tmp_path))
    mode = (tmp_path / "data" / name).stat().st_mode
    assert stat.S_IMODE(mode) == 0o600


def test_the_shipped_model_is_offered(tmp_path: Path) -> None:
    built = build(settings(tmp_path, admin_key=SecretStr(SECRET)))
    listed = ask(built, "/v1/models", SECRET).json()["data"]
    assert [model["id"] for model in listed] == [TINY]


def test_a_model_that_took_the_shipped_ones_name_keeps_it(tmp_path: Path) -> None:
    build(settings(tmp_path))
    database = Database(f"sqlite:///{tmp_path / 'data' / 'tunesmith.db'}")
    with database.write() as store:
        store.models.delete_base(TINY)
        store.models.put_base(base_model("own", aliases=(TINY,)))
    database.close()
    built = build(settings(tmp_path, admin_key=SecretStr(SECRET)))
    listed = ask(built, "/v1/models", SECRET).json()["data"]
    assert [model["id"] for model in listed] == ["own"]


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_a_server_says_that_it_is_well(tmp_path: Path, path: str) -> None:
    assert ask(build(settings(tmp_path)), path).status_code == 200


def test_a_server_without_its_database_lives_and_is_not_ready(
    tmp_path: Path, break_database: Callable[[], None]
) -> None:
    built = build(settings(tmp_path))
    break_database()
    assert ask(built, "/healthz").status_code == 200
    answer = ask(built, "/readyz")
    assert answer.status_code == 503
    assert answer.headers["x-request-id"]


@pytest.fixture
def break_database(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """As if the file system had become read-only."""

    def begin_nothing(database: Database) -> Any:
        raise OperationalError("BEGIN IMMEDIATE", None, Exception("disk I/O error"))

    def now() -> None:
        monkeypatch.setattr(Database, "_writing_connection", begin_nothing)

    return now


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/v9/models", 404),
        ("/admin/v1/keys", 401),
        ("/admin/v1/nothing", 404),
        ("/fleet/v1/nothing", 404),
        ("/v1/models", 401),
        ("/v1/nothing", 404),
    ],
)
def test_every_answer_has_a_request_id(tmp_path: Path, path: str, status: int) -> None:
    answer = ask(build(settings(tmp_path)), path)
    assert answer.status_code == status
    assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, set()),
        ({"requests_per_minute": 5}, {"requests"}),
        ({"requests_per_minute": 5, "tokens_per_minute": 7}, {"requests", "tokens"}),
    ],
)
def test_the_limits_that_are_set_are_those_that_are_told(
    tmp_path: Path, changes: dict[str, int], told: set[str]
) -> None:
    built = build(settings(tmp_path, admin_key=SecretStr(SECRET), **changes))
    answer = ask(built, "/v1/completions", SECRET, {"model": "nothing", "prompt": "x"})
    assert answer.status_code == 404
    limits = {name for name in answer.headers if name.startswith("x-ratelimit-limit-")}
    assert limits == {f"x-ratelimit-limit-{unit}" for unit in told}


def test_no_answer_is_given_under_an_unknown_prefix(tmp_path: Path) -> None:
    assert ask(build(settings(tmp_path)), "/v9/models").status_code == 404


def test_the_operator_sets_what_devices_cost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_DEVICE_PRICES", '{"cpu": 6}')
    built = build(settings(tmp_path, admin_key=SecretStr(SECRET)))
    asked = {"base_model": TINY, "num_examples": 10**6}
    made = ask(built, "/admin/v1/estimates", SECRET, asked).json()
    assert made["cost"] == pytest.approx(made["minutes"] / 10)


def test_the_shipped_model_has_its_facts_and_stays_as_old_as_it_is(tmp_path: Path) -> None:
    def shipped() -> BaseModel:
        build(settings(tmp_path))
        with Database(f"sqlite:///{tmp_path / 'data' / 'tunesmith.db'}").read() as store:
            (model,) = store.models.list_bases()
        return model

    first, second = shipped(), shipped()
    assert (first.licence, first.provider, first.size) == ("apache-2.0", "Tunesmith", "3.4M")
    assert first == second
