"""Errors that all routes share, and what every answer's headers say."""

import re
from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import error
from tests.contract.server import BASE, Caller, ScriptedSampler, Server
from tunesmith.domain.accounts import new_secret

ROUTES = [
    ("GET", "/files"),
    ("POST", "/files"),
    ("POST", "/uploads"),
    ("POST", "/uploads/upload_x/parts"),
    ("POST", "/uploads/upload_x/complete"),
    ("POST", "/uploads/upload_x/cancel"),
    ("GET", "/fine_tuning/jobs"),
    ("GET", "/fine_tuning/jobs/ftjob-x/events"),
    ("GET", "/models"),
    ("POST", "/chat/completions"),
    ("POST", "/completions"),
    ("POST", "/embeddings"),
    ("POST", "/responses"),
    ("GET", "/responses/resp_x"),
    ("POST", "/responses/compact"),
]
ASKED = {"model": BASE, "messages": [{"role": "user", "content": "x"}]}
BODIES: dict[str, Any] = {
    "/uploads/upload_x/complete": {"part_ids": []},
    "/completions": {"model": BASE, "prompt": "x"},
    "/embeddings": {"model": BASE, "input": "x"},
    "/responses": {"model": BASE, "input": "x"},
}
ASKING = ["/chat/completions", "/completions", "/embeddings", "/responses"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("credential", [None, "", "Basic abc", "Bearer"])
def test_a_missing_key_is_asked_for(
    server: Server, credential: str | None, method: str, path: str
) -> None:
    headers = {} if credential is None else {"Authorization": credential}
    answer = request(server, method, path, headers)
    assert answer.status_code == 401
    message = "You didn't provide an API key. Send it as `Authorization: Bearer <key>`."
    assert answer.json() == {"error": error(message, code="invalid_api_key")}


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_a_wrong_key_is_refused_and_not_repeated(server: Server, method: str, path: str) -> None:
    secret = new_secret()
    answer = request(server, method, path, {"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"
    assert "Incorrect API key provided" in answer.json()["error"]["message"]
    assert secret not in answer.text


def request(server: Server, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = BODIES.get(path, ASKED)
    with httpx.Client(verify=False) as http:
        return http.request(
            method,
            f"{server.url}/v1{path}",
            headers=headers,
            json=body if method == "POST" else None,
        )


def test_the_client_knows_the_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError):
        client.with_options(api_key="wrong").models.list()


@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/nothing"), ("POST", "/moderations"), ("GET", "/")]
)
def test_an_unknown_route_is_named(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 404
    message = f"Unknown request URL: {method} /v1{path}."
    assert answer.json() == {"error": error(message, code="unknown_url")}


def test_a_method_that_a_route_does_not_take_is_named(http: httpx.Client) -> None:
    answer = http.put("/files")
    assert answer.status_code == 405
    message = "Not allowed to PUT on /v1/files."
    assert answer.json() == {"error": error(message, code="method_not_allowed")}
    assert answer.headers["allow"] == "POST"  # FastAPI names the methods of the first route alone


def test_an_id_with_a_line_break_is_unknown_like_any_other(http: httpx.Client) -> None:
    answer = http.get("/files/a%0Ab")
    assert answer.status_code == 404
    assert answer.json() == {"error": error("No such File object: a\nb", param="id")}


@pytest.mark.parametrize("path", [*ASKING, "/fine_tuning/jobs", "/uploads"])
@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"model": NaN}']
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_bodies_that_are_no_json_object_are_refused(
    http: httpx.Client, path: str, body: bytes, content_type: str
) -> None:
    answer = http.post(path, content=body, headers={"Content-Type": content_type})
    assert answer.status_code == 400, answer.text
    assert list(answer.json()["error"]) == ["message", "type", "param", "code"]


def test_a_body_that_nobody_would_send_is_too_large(http: httpx.Client) -> None:
    body = b'{"model": "' + b"x" * (33 * 1024 * 1024)
    answer = http.post("/completions", content=body)
    assert answer.status_code == 413


def test_every_answer_has_the_headers_of_the_original(http: httpx.Client, caller: Caller) -> None:
    for path, status in (("/models", 200), ("/models/x", 404)):
        answer = http.get(path)
        assert answer.status_code == status
        assert re.fullmatch(r"req_[0-9a-f]{32}", answer.headers["x-request-id"])
        assert answer.headers["openai-version"] == "2020-10-01"
        assert answer.headers["openai-organization"] == caller.organization.slug
        assert int(answer.headers["openai-processing-ms"]) >= 0


def test_the_client_knows_the_request_id(client: openai.OpenAI, sampler: ScriptedSampler) -> None:
    answer = client.completions.create(model=BASE, prompt="a")
    assert (answer._request_id or "").startswith("req_")


def test_what_the_house_did_not_foresee_shows_nothing_of_its_inside(
    client: openai.OpenAI, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [RuntimeError("secret inside")]
    with pytest.raises(openai.InternalServerError) as caught:
        client.completions.create(model=BASE, prompt="a")
    told = caught.value.response.json()["error"]
    assert told["message"].startswith("The server had an error while processing your request")
    assert (told["type"], told["param"], told["code"]) == ("server_error", None, "server_error")
    assert "secret" not in caught.value.response.text


def test_the_api_describes_itself(server: Server) -> None:
    with httpx.Client(verify=False) as http:
        schema = http.get(f"{server.url}/v1/openapi.json").json()
    assert "/fine_tuning/jobs/{job_id}/cancel" in schema["paths"]
    assert "multipart/form-data" in schema["paths"]["/files"]["post"]["requestBody"]["content"]
