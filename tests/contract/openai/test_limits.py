"""Rate limits as OpenAI's client sees them, and whether it should try again."""

from collections.abc import Iterator
from uuid import UUID

import httpx
import openai
import pytest
from fastapi import Request

from tests.contract.openai.support import refused
from tests.contract.server import BASE, Server
from tests.unit.services.test_limits import Seconds
from tunesmith.dialects.openai.errors import render
from tunesmith.dialects.openai.limits import go_duration
from tunesmith.domain import errors
from tunesmith.services.limits import Limiter, Unit

SECONDS = Seconds()


@pytest.fixture(scope="module")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Three requests and 25 tokens a minute; an answer takes ten."""
    limiter = Limiter({Unit.REQUESTS: 3, Unit.TOKENS: 25}, SECONDS)
    running = Server(tmp_path_factory.mktemp("server"), limiter)
    yield running
    running.close()


@pytest.fixture
def limited(strict_server: Server) -> Iterator[openai.OpenAI]:
    """Somebody new, whom nothing was counted for yet."""
    with openai.OpenAI(
        base_url=f"{strict_server.url}/v1",
        api_key=strict_server.new_caller().secret,
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


def limits_in(headers: httpx.Headers) -> dict[str, str]:
    prefix = "x-ratelimit-"
    return {k.removeprefix(prefix): v for k, v in headers.items() if k.startswith(prefix)}


def test_an_answer_tells_what_is_left(limited: openai.OpenAI) -> None:
    answer = limited.completions.with_raw_response.create(model=BASE, prompt="a")
    assert limits_in(answer.headers) == {
        "limit-requests": "3",
        "remaining-requests": "2",
        "reset-requests": "20s",
        "limit-tokens": "25",
        "remaining-tokens": "15",
        "reset-tokens": "24s",
    }


def test_too_many_requests_are_told_when_to_come_back(limited: openai.OpenAI) -> None:
    for _ in range(3):
        with pytest.raises(openai.NotFoundError):
            limited.completions.create(model="nothing", prompt="a")
    with pytest.raises(openai.RateLimitError) as caught:
        limited.completions.create(model=BASE, prompt="a")
    response = caught.value.response
    assert response.json() == {
        "error": {
            "message": "Rate limit reached: 3 requests per minute. Try again in 20.000 seconds.",
            "type": "requests",
            "param": None,
            "code": "rate_limit_exceeded",
        }
    }
    assert response.headers["retry-after"] == "20"
    assert response.headers["retry-after-ms"] == "20000"
    assert "x-should-retry" not in response.headers
    assert response.headers["x-ratelimit-remaining-requests"] == "0"
    assert response.headers["x-ratelimit-reset-requests"] == "1m0s"
    assert response.headers["x-request-id"].startswith("req_")


def test_too_many_tokens_are_told_apart_from_requests(limited: openai.OpenAI) -> None:
    prompts = ["a", "b", "c", "d", "e", "f"]
    assert limited.completions.create(model=BASE, prompt=prompts).usage is not None  # 60 tokens
    with pytest.raises(openai.RateLimitError) as caught:
        limited.completions.create(model=BASE, prompt="a")
    assert caught.value.type == "tokens"
    assert "25 tokens per minute" in caught.value.message
    assert caught.value.response.headers["retry-after"] == "60"  # in truth it is longer
    assert caught.value.response.headers["x-ratelimit-reset-tokens"] == "2m24s"


def test_a_streamed_answer_counts_when_it_has_ended(limited: openai.OpenAI) -> None:
    messages: list[openai.types.chat.ChatCompletionMessageParam] = [
        {"role": "user", "content": "x"}
    ]
    list(limited.chat.completions.create(model=BASE, messages=messages, stream=True))
    answer = limited.completions.with_raw_response.create(model=BASE, prompt="a")
    assert answer.headers["x-ratelimit-remaining-tokens"] == "5"
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"


def test_time_brings_requests_back(limited: openai.OpenAI) -> None:
    limited.completions.create(model=BASE, prompt="a")
    SECONDS.time += 19.88
    answer = limited.completions.with_raw_response.create(model=BASE, prompt="a")
    assert answer.headers["x-ratelimit-remaining-requests"] == "1"
    SECONDS.time += 3600
    answer = limited.completions.with_raw_response.create(model=BASE, prompt="a")
    assert answer.headers["x-ratelimit-remaining-requests"] == "2"


def test_only_answers_are_limited(limited: openai.OpenAI) -> None:
    for _ in range(5):
        answer = limited.models.with_raw_response.list()
        assert limits_in(answer.headers) == {}


def test_a_wrong_key_is_not_counted_for_anybody(limited: openai.OpenAI) -> None:
    with refused(401):
        limited.with_options(api_key="wrong").completions.create(model=BASE, prompt="a")


def test_a_server_without_limits_tells_of_none(client: openai.OpenAI) -> None:
    answer = client.completions.with_raw_response.create(model=BASE, prompt="a")
    assert limits_in(answer.headers) == {}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (0.0001, "1ms"),
        (0.12, "120ms"),
        (1, "1s"),
        (8.64, "8.64s"),
        (59.9999, "1m0s"),
        (90.5, "1m30.5s"),
        (360, "6m0s"),
        (3600, "1h0m0s"),
    ],
)
def test_durations_look_as_go_prints_them(seconds: float, shown: str) -> None:
    assert go_duration(seconds) == shown


@pytest.mark.parametrize(
    ("error", "status", "headers"),
    [
        (errors.Conflict("a"), 409, {"x-should-retry": "false"}),
        (errors.QuotaExceeded("a"), 429, {"x-should-retry": "false"}),
        (
            errors.RateLimited("tokens", 5, retry_after_seconds=0.0301),
            429,
            {"retry-after": "1", "retry-after-ms": "31"},
        ),
        (
            errors.RateLimited("tokens", 5, retry_after_seconds=1e6),
            429,
            {"retry-after": "60", "retry-after-ms": "60000"},
        ),
        (errors.Unavailable("a"), 503, {"retry-after": "5"}),
        (errors.InvalidRequest("a"), 400, {}),
        (errors.NotFound("file", str(UUID(int=0))), 404, {}),
        (errors.TunesmithError("a"), 500, {}),
    ],
)
def test_clients_are_told_whether_and_when_to_try_again(
    error: errors.TunesmithError, status: int, headers: dict[str, str]
) -> None:
    request = Request({"type": "http", "query_string": b""})
    answer = render(request, error, status)
    names = ("retry-after", "retry-after-ms", "x-should-retry")
    assert {name: answer.headers[name] for name in names if name in answer.headers} == headers
