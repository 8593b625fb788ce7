"""Who the caller is, by each kind of credential; and the envelope."""

import cloudflare
import httpx
import pytest

from tests.contract.cloudflare.support import refused
from tests.contract.server import Caller, Server

EMAIL = "ada@example.org"


@pytest.fixture
def ada(server: Server) -> Caller:
    return server.new_caller(email=EMAIL)


def ask(server: Server, path: str, headers: dict[str, str]) -> httpx.Response:
    return httpx.get(f"{server.url}/client/v4{path}", headers=headers)


def test_a_token_is_verified(http: httpx.Client) -> None:
    answer = http.get("/user/tokens/verify")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["success"], body["errors"], body["messages"]) == (True, [], [])
    assert body["result"]["status"] == "active"


def test_an_unknown_token_is_told_apart_where_tokens_are_verified(server: Server) -> None:
    headers = {"Authorization": "Bearer nobody"}
    refused(ask(server, "/user/tokens/verify", headers), 401, 1000)
    refused(ask(server, "/accounts", headers), 401, 10000)


def test_an_account_is_the_organization_in_hex(http: httpx.Client, caller: Caller) -> None:
    body = http.get("/accounts?page=1").json()
    assert [account["id"] for account in body["result"]] == [caller.organization.id.hex]
    assert body["result_info"] == {"page": 1, "per_page": 20, "count": 1, "total_count": 1}
    assert http.get("/accounts?page=2").json()["result"] == []
    (membership,) = http.get("/memberships?page=1").json()["result"]
    assert membership["account"]["id"] == caller.organization.id.hex


def test_a_user_without_an_email_is_nobody_to_see(http: httpx.Client) -> None:
    refused(http.get("/user"), 403, 9109)


def test_email_and_key_are_a_credential(server: Server, ada: Caller) -> None:
    headers = {"X-Auth-Email": "Ada@Example.org", "X-Auth-Key": ada.secret}
    assert ask(server, "/user", headers).json()["result"]["email"] == EMAIL


def test_the_sdk_brings_email_and_key(server: Server, ada: Caller) -> None:
    url = f"{server.url}/client/v4"
    with cloudflare.Cloudflare(api_email=EMAIL, api_key=ada.secret, base_url=url) as client:
        assert client.user.tokens.verify() is not None
        user = client.user.get()
    assert user is not None
    assert user.id is not None
    with (
        cloudflare.Cloudflare(api_email=EMAIL, api_key="no", base_url=url, max_retries=0) as client,
        pytest.raises(cloudflare.AuthenticationError) as caught,
    ):
        list(client.accounts.list())
    assert [error.code for error in caught.value.errors] == [10000]


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Auth-Email": EMAIL},
        {"X-Auth-Key": "{secret}"},
        {"X-Auth-Email": "eve@example.org", "X-Auth-Key": "{secret}"},
        {"X-Auth-Email": EMAIL, "X-Auth-Key": "wrong"},
        {"Authorization": "Bearer wrong"},
        {"X-Auth-User-Service-Key": "wrong"},
    ],
)
def test_half_a_credential_or_a_wrong_one_is_none(
    server: Server, ada: Caller, headers: dict[str, str]
) -> None:
    sent = {name: value.format(secret=ada.secret) for name, value in headers.items()}
    refused(ask(server, "/accounts", sent), 401, 10000)


def test_a_key_without_an_email_is_no_global_key(server: Server, caller: Caller) -> None:
    headers = {"X-Auth-Email": EMAIL, "X-Auth-Key": caller.secret}
    refused(ask(server, "/accounts", headers), 401, 10000)


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer", "Basic abc"])
def test_a_bad_bearer_leaves_room_for_a_good_key(
    server: Server, ada: Caller, authorization: str
) -> None:
    headers = {"Authorization": authorization, "X-Auth-Email": EMAIL, "X-Auth-Key": ada.secret}
    assert ask(server, "/accounts", headers).status_code == 200


def test_a_good_bearer_wins(server: Server, ada: Caller, caller: Caller) -> None:
    headers = {
        "Authorization": f"Bearer {caller.secret}",
        "X-Auth-Email": EMAIL,
        "X-Auth-Key": ada.secret,
    }
    (account,) = ask(server, "/accounts", headers).json()["result"]
    assert account["id"] == caller.organization.id.hex


def test_a_service_key_is_judged_last(server: Server, caller: Caller) -> None:
    headers = {"X-Auth-User-Service-Key": caller.secret}
    assert ask(server, "/accounts", headers).status_code == 200


@pytest.mark.parametrize("authorization", ["Bearer", "Bearer a b", "Basic abc", "Token x"])
def test_a_malformed_header_is_told_apart(server: Server, authorization: str) -> None:
    (error,) = refused(ask(server, "/accounts", {"Authorization": authorization}), 400, 6003)
    assert [link["code"] for link in error["error_chain"]] == [6111]


def test_a_malformed_key_is_told_apart(server: Server) -> None:
    headers = {"X-Auth-Email": EMAIL, "X-Auth-Key": "a b"}
    (error,) = refused(ask(server, "/accounts", headers), 400, 6003)
    assert [link["code"] for link in error["error_chain"]] == [6103]


def test_unknown_paths_and_methods_are_in_the_envelope(http: httpx.Client) -> None:
    refused(http.get("/zones"), 404, 7003, 7000)
    refused(http.delete("/accounts"), 405, 7001)


def test_a_wrong_page_is_named(http: httpx.Client) -> None:
    (error,) = refused(http.get("/accounts?page=zero"), 400, 3003)
    assert error["source"] == {"pointer": "/page"}


@pytest.mark.parametrize("path", ["/accounts/", "//accounts", "/accounts?", "//accounts//?page=1"])
def test_slashes_may_be_one_more(server: Server, caller: Caller, path: str) -> None:
    answer = ask(server, path, {"Authorization": f"Bearer {caller.secret}"})
    assert answer.status_code == 200
