"""The same request under the same key, a hundred times at once: it is done once."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests import postgres
from tests.contract.platform.support import EXAMPLES
from tests.contract.server import BASE, Caller, Server
from tunesmith.services import idempotency

AT_ONCE = 100
HEADER = "Idempotency-Key"


@dataclass(frozen=True)
class Form:
    """How a dialect is asked for something new, and how many of it there are."""

    path: str
    headers: dict[str, str]
    body: Callable[[str], dict[str, Any]]
    list_path: str
    count: Callable[[Any], int]


def openai_form(caller: Caller, file_id: str, _: str) -> Form:
    return Form(
        path="/v1/fine_tuning/jobs",
        headers={"authorization": f"Bearer {caller.secret}"},
        body=lambda name: {"model": BASE, "training_file": file_id, "suffix": name},
        list_path="/v1/fine_tuning/jobs",
        count=lambda answer: len(answer["data"]),
    )


def platform_form(caller: Caller, _: str, dataset_id: str) -> Form:
    return Form(
        path="/api/v1/fine-tuning/jobs",
        headers={"x-api-key": caller.secret},
        body=lambda name: {"name": name, "baseModel": BASE, "trainingDataset": dataset_id},
        list_path="/api/v1/fine-tuning/jobs",
        count=lambda answer: int(answer["count"]),
    )


def cloudflare_form(caller: Caller, _: str, __: str) -> Form:
    path = f"/client/v4/accounts/{caller.organization.id.hex}/ai/finetunes"
    return Form(
        path=path,
        headers={"authorization": f"Bearer {caller.secret}"},
        body=lambda name: {"model": BASE, "name": name},
        list_path=path,
        count=lambda answer: len(answer["result"]),
    )


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Keys are claimed by what each database does with a row that is there."""
    url = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    running = Server(tmp_path_factory.mktemp("server"), url=url)
    yield running
    running.close()
    if url is not None:
        postgres.empty(url)


@pytest.fixture(params=[openai_form, platform_form, cloudflare_form])
def form(request: pytest.FixtureRequest, server: Server, caller: Caller) -> Form:
    upload = {"file": ("train.jsonl", EXAMPLES)}
    headers = {"authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=server.url, headers=headers, trust_env=False) as http:
        file_id = http.post("/v1/files", files=upload, data={"purpose": "fine-tune"}).json()["id"]
        dataset = http.post("/api/v1/datasets", files=upload).json()["id"]
    made: Form = request.param(caller, file_id, dataset)
    return made


def ask(server: Server, form: Form, *names: str, key: str | None = "k-1") -> list[httpx.Response]:
    """All at once."""

    async def in_loop() -> list[httpx.Response]:
        headers = form.headers | ({} if key is None else {HEADER: key})
        limits = httpx.Limits(max_connections=AT_ONCE)
        async with httpx.AsyncClient(
            base_url=server.url, headers=headers, limits=limits, timeout=120, trust_env=False
        ) as http:
            asked = [http.post(form.path, json=form.body(name)) for name in names]
            return await asyncio.gather(*asked)

    return asyncio.run(in_loop())


def num_made(server: Server, form: Form) -> int:
    answer = httpx.get(server.url + form.list_path, headers=form.headers, trust_env=False)
    return form.count(answer.json())


def test_what_is_asked_for_a_hundred_times_at_once_is_done_once(server: Server, form: Form) -> None:
    answers = ask(server, form, *["same"] * AT_ONCE)
    assert {answer.status_code for answer in answers} <= {200, 201}
    assert len({answer.text for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert num_made(server, form) == 1


def test_a_key_is_good_for_one_request(server: Server, form: Form) -> None:
    ask(server, form, "first")
    (other,) = ask(server, form, "second")
    assert other.status_code == 422
    assert "Idempotency-Key" in other.text
    assert num_made(server, form) == 1


def test_other_keys_and_none_are_other_requests(server: Server, form: Form) -> None:
    for number, key in enumerate(("a", "b", None)):
        (answer,) = ask(server, form, f"name-{number}", key=key)
        assert answer.is_success
    assert num_made(server, form) == 3


def test_what_failed_may_be_tried_again_under_its_key(server: Server, form: Form) -> None:
    (refused,) = ask(server, form, "x" * 400)
    assert refused.is_client_error
    (answer,) = ask(server, form, "better")
    assert answer.is_success


def test_keys_are_forgotten_after_a_day(
    server: Server, form: Form, advance: Callable[[float], None]
) -> None:
    ask(server, form, "first")
    advance(24 * 3600 + 1)
    with server.database.write() as store:
        assert idempotency.remove_old(store, server.now()) >= 1
    (answer,) = ask(server, form, "second")
    assert answer.is_success


@pytest.mark.parametrize("key", ["", "ä", "x" * 256])
def test_a_key_that_is_none_is_refused(server: Server, form: Form, key: str) -> None:
    answer = httpx.post(
        server.url + form.path,
        headers=[*form.headers.items(), (HEADER, key.encode("latin-1"))],  # type: ignore[list-item]
        json=form.body("name"),
        trust_env=False,
    )
    assert answer.status_code == 400


def test_organizations_do_not_share_keys(server: Server, form: Form, caller: Caller) -> None:
    ask(server, form, "first")
    stranger = server.new_caller()
    with server.database.write() as store:
        claimed = store.idempotency_keys.claim(
            stranger.organization.id, "k-1", "digest", server.now()
        )
    assert claimed


def test_a_dataset_that_is_sent_again_is_there_once(server: Server, caller: Caller) -> None:
    headers = {"x-api-key": caller.secret, HEADER: "k-1"}
    path = f"{server.url}/api/v1/datasets"

    def send(content: bytes) -> httpx.Response:
        files = {"file": ("train.jsonl", content)}
        return httpx.post(path, headers=headers, files=files, trust_env=False)

    first, again, other = send(EXAMPLES), send(EXAMPLES), send(EXAMPLES + b"\n" + EXAMPLES)
    assert [answer.status_code for answer in (first, again, other)] == [201, 201, 422]
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert httpx.get(path, headers=headers, trust_env=False).json()["count"] == 1
