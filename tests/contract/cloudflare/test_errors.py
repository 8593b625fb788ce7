"""Every error that the house knows, in this dialect's words."""

import json

import pytest
from fastapi import Request

from tunesmith.dialects.cloudflare import errors as dialect
from tunesmith.domain import errors
from tunesmith.http import status_of

REQUEST = Request(
    {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
)


@pytest.mark.parametrize(
    ("error", "status", "number"),
    [
        (errors.InvalidRequest("No.", param="a.b"), 400, 3003),
        (errors.InvalidTrainingData("No.", line=3), 400, 3003),
        (errors.InvalidAdapter("No."), 400, 5004),
        (errors.InvalidRequest("No.", code="model_not_available"), 400, 5007),
        (errors.Unauthenticated("No."), 401, 10000),
        (errors.PermissionDenied("No."), 403, 10000),
        (errors.NotFound("adapter", "x"), 404, 7003),
        (errors.NotFound("base model", "x"), 400, 5007),
        (errors.Conflict("No."), 409, 3003),
        (errors.WrongState("stopped", "failed"), 400, 3003),
        (errors.StaleAttempt("No."), 409, 3003),
        (errors.TooLarge("No."), 413, 3006),
        (errors.QuotaExceeded("No."), 429, 3036),
        (errors.RateLimited("requests", 1, retry_after_seconds=2.5), 429, 3036),
        (errors.Unavailable("No."), 429, 3040),
        (errors.DiskFull("No."), 429, 3040),
        (errors.TooManyAtOnce("No."), 429, 3036),
        (errors.KeyReused("No."), 422, 3003),
        (errors.TunesmithError("No."), 500, 7500),
    ],
)
def test_an_error_has_its_status_and_its_number(
    error: errors.TunesmithError, status: int, number: int
) -> None:
    answer = dialect.render(REQUEST, error, status_of(error))
    body = json.loads(bytes(answer.body))
    assert answer.status_code == status
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert body["errors"][0]["code"] == number
    assert body["errors"][0]["message"] == error.message


def test_every_kind_of_error_is_tried_above() -> None:
    (mark,) = test_an_error_has_its_status_and_its_number.pytestmark
    tried = {type(case[0]) for case in mark.args[1]}
    known = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.TunesmithError)
    }
    assert known - tried == set()


def test_clients_are_told_when_to_try_again() -> None:
    def header(error: errors.TunesmithError, name: str) -> str | None:
        return dialect.render(REQUEST, error, 429).headers.get(name)

    assert header(errors.QuotaExceeded("No."), "x-should-retry") == "false"
    assert header(errors.RateLimited("tokens", 1, retry_after_seconds=2.5), "retry-after") == "3"
    assert header(errors.Unavailable("No."), "retry-after") == "5"


def test_what_no_text_can_hold_is_escaped() -> None:
    error = errors.InvalidRequest("half \ud800", param="a\ud800.b")
    body = json.loads(bytes(dialect.render(REQUEST, error, 400).body))
    assert body["errors"][0]["message"] == "half \\ud800"
    assert body["errors"][0]["source"] == {"pointer": "/a\\ud800/b"}
