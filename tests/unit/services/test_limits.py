"""Rate limits: what is let in, what is counted, and when it is forgotten."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from uuid import uuid4

import pytest

from tests.factories import base_model
from tunesmith.domain.assignments import SampleOutput, SamplePart, SampleRequest
from tunesmith.domain.errors import RateLimited
from tunesmith.services.limits import Limiter, MeteredSampler, Unit

OWNER = uuid4()


class Seconds:
    """A monotonic clock that goes when it is told to."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def seconds() -> Seconds:
    return Seconds()


def test_requests_are_let_in_up_to_the_limit_and_again_as_time_goes(seconds: Seconds) -> None:
    limiter = Limiter({Unit.REQUESTS: 3}, seconds)
    for _ in range(3):
        limiter.admit(OWNER)
    with pytest.raises(RateLimited) as caught:
        limiter.admit(OWNER)
    assert (caught.value.unit, caught.value.limit) == ("requests", 3)
    assert caught.value.retry_after_seconds == pytest.approx(20)
    seconds.time += 19.9
    with pytest.raises(RateLimited):
        limiter.admit(OWNER)
    seconds.time += 0.2
    limiter.admit(OWNER)


def test_waiting_gives_no_more_than_a_minutes_worth(seconds: Seconds) -> None:
    limiter = Limiter({Unit.REQUESTS: 2}, seconds)
    limiter.admit(OWNER)
    seconds.time += 10_000
    (standing,) = limiter.standings(OWNER)
    assert (standing.remaining, standing.full_in_seconds) == (2, 0)


def test_organizations_do_not_share_their_limits(seconds: Seconds) -> None:
    limiter = Limiter({Unit.REQUESTS: 1}, seconds)
    limiter.admit(OWNER)
    limiter.admit(uuid4())
    with pytest.raises(RateLimited):
        limiter.admit(OWNER)


def test_a_debt_of_tokens_is_paid_before_the_next_answer(seconds: Seconds) -> None:
    limiter = Limiter({Unit.REQUESTS: 100, Unit.TOKENS: 600}, seconds)
    limiter.admit(OWNER)
    limiter.spend(OWNER, Unit.TOKENS, 900)
    with pytest.raises(RateLimited) as caught:
        limiter.admit(OWNER)
    assert caught.value.unit == "tokens"
    assert caught.value.retry_after_seconds == pytest.approx(30.1)
    requests, tokens = limiter.standings(OWNER)
    assert (requests.remaining, tokens.remaining) == (99, 0)  # the refused one is not counted
    assert tokens.full_in_seconds == pytest.approx(90)
    seconds.time += 30.2
    limiter.admit(OWNER)


def test_without_limits_nothing_is_refused_and_nothing_told() -> None:
    limiter = Limiter({})
    for _ in range(100):
        limiter.admit(OWNER)
    limiter.spend(OWNER, Unit.TOKENS, 10**9)
    assert limiter.standings(OWNER) == ()


REQUEST = SampleRequest(request_id="r", base_model=base_model(), adapter=None, prompt="x")


class ThreeWords:
    """A `Sampler` that says three words to a prompt of seven tokens."""

    def __init__(self) -> None:
        self.is_closed = False

    async def sample(self, request: SampleRequest) -> AsyncGenerator[SampleOutput, None]:
        try:
            for _ in range(3):
                yield SampleOutput(request_id="r", part=SamplePart.DELTA, text="word ")
            yield SampleOutput(
                request_id="r", part=SamplePart.DONE, prompt_tokens=7, completion_tokens=3
            )
        finally:
            self.is_closed = True


def remaining_after(num_parts: int, seconds: Seconds) -> tuple[int, bool]:
    limiter = Limiter({Unit.TOKENS: 100}, seconds)
    words = ThreeWords()
    metered = MeteredSampler(words, limiter, OWNER)

    async def read() -> None:
        async with aclosing(metered.sample(REQUEST)) as outputs:
            for _ in range(num_parts):
                await anext(outputs)

    asyncio.run(read())
    (standing,) = limiter.standings(OWNER)
    return standing.remaining, words.is_closed


def test_an_answer_takes_its_prompt_and_its_tokens(seconds: Seconds) -> None:
    assert remaining_after(4, seconds) == (90, True)


def test_an_answer_that_nobody_waits_for_takes_what_was_said(seconds: Seconds) -> None:
    assert remaining_after(2, seconds) == (98, True)
