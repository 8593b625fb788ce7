"""Rate limits: what is asked in one form counts in every other."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.cloudflare.support import Account, refused, result
from tests.contract.server import BASE, Server
from tests.unit.services.test_limits import Seconds
from tunesmith.services.limits import Limiter, Unit


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three requests and 100 tokens a minute; an answer takes ten."""
    limiter = Limiter({Unit.REQUESTS: 3, Unit.TOKENS: 100}, Seconds())
    running = Server(tmp_path_factory.mktemp("server"), limiter)
    yield running
    running.close()


@pytest.fixture
def limited(strict_server: Server) -> Iterator[Account]:
    with Account(strict_server, strict_server.new_caller()) as account:
        yield account


def run(account: Account) -> httpx.Response:
    return account.http.post(f"/run/{BASE}", json={"prompt": "Hi."})


def test_too_many_requests_are_told_when_to_come_back(limited: Account) -> None:
    for _ in range(3):
        result(run(limited))
    answer = run(limited)
    refused(answer, 429, 3036)
    assert answer.headers["retry-after"] == "20"
    shaped = limited.http.post("/v1/completions", json={"model": BASE, "prompt": "Hi."})
    assert (shaped.status_code, shaped.json()["errors"][0]["code"]) == (429, 3036)
    assert shaped.headers["retry-after"] == "20"


def test_what_is_refused_counts_nothing(limited: Account) -> None:
    for _ in range(5):
        refused(limited.http.post("/run/nobody", json={"prompt": "Hi."}), 400, 5007)
    result(run(limited))


def test_the_tokens_of_answers_count(limited: Account, strict_server: Server) -> None:
    result(run(limited))
    limiter: Limiter = strict_server.cloudflare_app.state.limiter
    standings = limiter.standings(limited.caller.organization.id)
    left = {standing.unit: standing.remaining for standing in standings}
    assert left == {Unit.REQUESTS: 2, Unit.TOKENS: 90}
