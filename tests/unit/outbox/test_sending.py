import asyncio
import socket
import ssl
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from uuid import uuid4

import openai
import pytest
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent

from tests.factories import NOW
from tests.receiver import Received, Receiver, with_status
from tunesmith.dialects.openai.webhooks import render
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import JobEnded, WebhookEndpoint, new_signing_secret
from tunesmith.outbox import sending
from tunesmith.outbox.sending import CheckedNetwork, Result, Sender

EVENT = JobEnded(id=uuid4(), job_id=uuid4(), outcome=JobStatus.SUCCEEDED, created_at=NOW)


def send(
    endpoint: WebhookEndpoint, network: CheckedNetwork | None = None, at: datetime | None = None
) -> Result:
    sender = Sender(network or CheckedNetwork(allow_private=True))
    return asyncio.run(sender.send(endpoint, render(EVENT), at or datetime.now(UTC)))


def unwrap(received: Received, secret: str) -> object:
    client = openai.OpenAI(api_key="none", webhook_secret=secret)
    return client.webhooks.unwrap(received.body, received.headers)


def test_the_vendors_client_accepts_what_is_sent(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    assert send(endpoint) == Result(is_delivered=True, text="answered 200")
    (received,) = receiver.received
    event = unwrap(received, endpoint.secret)
    assert isinstance(event, FineTuningJobSucceededWebhookEvent)
    assert event.id == received.headers["webhook-id"]
    assert (event.object, event.created_at) == ("event", int(NOW.timestamp()))
    assert event.data.id.startswith("ftjob-")
    assert received.path == "/hook?a=b"
    assert received.headers["host"] == receiver.url.removeprefix("http://")


def test_the_vendors_client_refuses_another_secret_and_an_old_time(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    send(endpoint)
    send(endpoint, at=datetime.now(UTC) - timedelta(seconds=301))
    new, old = receiver.received
    for received, secret in ((new, new_signing_secret()), (old, endpoint.secret)):
        with pytest.raises(openai.InvalidWebhookSignatureError):
            unwrap(received, secret)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_answer_of_success_is_a_delivery(
    endpoint: WebhookEndpoint, receiver: Receiver, status: int
) -> None:
    receiver.answer = with_status(status)
    assert send(endpoint).is_delivered


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(
    endpoint: WebhookEndpoint, receiver: Receiver, status: int
) -> None:
    receiver.answer = with_status(status, Location=f"{receiver.url}/elsewhere")
    assert send(endpoint) == Result(is_delivered=False, text=f"answered {status}")
    assert [received.path for received in receiver.received] == ["/hook?a=b"]


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_an_answer_of_failure_is_none(
    endpoint: WebhookEndpoint, receiver: Receiver, status: int
) -> None:
    receiver.answer = with_status(status)
    assert send(endpoint) == Result(is_delivered=False, text=f"answered {status}")


def test_a_receiver_that_does_not_answer_is_left(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.2)
    receiver.answer = lambda _: receiver.is_closing.wait(5) and None
    assert send(endpoint) == Result(is_delivered=False, text="no answer in time")


def test_a_receiver_that_dribbles_its_answer_is_left(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No single read takes long; the whole does."""
    monkeypatch.setattr(sending, "TOTAL_SECONDS", 0.3)

    def dribble(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
        while not receiver.is_closing.wait(0.02):
            request.wfile.write(b"a")

    receiver.answer = dribble
    started = time.monotonic()
    assert send(endpoint) == Result(is_delivered=False, text="no answer in time")
    assert time.monotonic() - started < 5


def test_headers_without_end_are_not_read_to_the_end(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    def endless(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not receiver.is_closing.is_set():
            request.wfile.write(b"X-Long: " + b"a" * 65536 + b"\r\n")

    receiver.answer = endless
    started = time.monotonic()
    assert send(endpoint) == Result(is_delivered=False, text="the answer was not HTTP")
    assert time.monotonic() - started < 5


def test_a_body_without_end_is_not_read(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    written = 0

    def endless(request: BaseHTTPRequestHandler) -> None:
        nonlocal written
        request.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        while not receiver.is_closing.is_set():
            written += request.wfile.write(b"a" * 65536)

    receiver.answer = endless
    assert send(endpoint).is_delivered
    assert written < 64 * 1024 * 1024  # what the sockets' buffers hold


def test_what_is_no_http_is_no_delivery(endpoint: WebhookEndpoint, receiver: Receiver) -> None:
    receiver.answer = lambda request: request.wfile.write(b"220 smtp ready\r\n") and None
    assert send(endpoint) == Result(is_delivered=False, text="the answer was not HTTP")


def test_where_nobody_listens_there_is_no_delivery(endpoint: WebhookEndpoint) -> None:
    nobody = replace(endpoint, url="http://127.0.0.1:1/")
    assert send(nobody).text == "could not connect, or the connection broke"


def test_a_name_without_address_is_no_delivery(endpoint: WebhookEndpoint) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    unknown = replace(endpoint, url="http://unknown.example/")
    network = CheckedNetwork(allow_private=False, resolve=resolve)
    assert send(unknown, network).text == "could not connect, or the connection broke"


def test_a_name_that_cannot_be_one_is_no_delivery(endpoint: WebhookEndpoint) -> None:
    too_long = replace(endpoint, url=f"http://{'a' * 64}.example/")
    assert send(too_long).text == "could not connect, or the connection broke"


# Forms of this machine's address, or of a cloud's metadata, that a resolver may understand.
DISGUISED = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0x7f.0.0.1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
    "[fe80::1]",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "[::ffff:169.254.169.254]",
    "[fd00:ec2::254]",
]


@pytest.mark.parametrize("host", DISGUISED)
def test_no_connection_is_made_to_an_address_that_is_not_public(
    endpoint: WebhookEndpoint, receiver: Receiver, host: str
) -> None:
    port = receiver.url.rpartition(":")[2]
    disguised = replace(endpoint, url=f"http://{host}:{port}/")
    result = send(disguised, CheckedNetwork(allow_private=False))
    assert not result.is_delivered
    assert result.text.removesuffix(" (TUNESMITH_WEBHOOKS_ALLOW_PRIVATE lifts this)") in {
        "the host's address is not one of the public internet",
        "could not connect, or the connection broke",  # this resolver does not know the form
    }
    assert receiver.received == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["8.8.8.8", "127.0.0.1"]

    network = CheckedNetwork(allow_private=False, resolve=resolve)
    assert "not one of the public" in send(replace(endpoint, url="http://a.example/"), network).text


def test_the_address_that_was_checked_is_the_one_that_is_called(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that first resolves to a public address, and then to this machine, fools nobody."""
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    connected: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        return next(answers)

    network = CheckedNetwork(allow_private=False, resolve=resolve)

    async def connect_tcp(host: str, *arguments: object) -> object:
        connected.append(host)
        raise OSError

    monkeypatch.setattr(network._network, "connect_tcp", connect_tcp)
    port = receiver.url.rpartition(":")[2]
    rebound = replace(endpoint, url=f"http://rebound.example:{port}/")
    assert send(rebound, network).text == "could not connect, or the connection broke"
    assert connected == ["93.184.216.34"]
    assert "not one of the public" in send(rebound, network).text  # checked at each delivery
    assert connected == ["93.184.216.34"]
    assert receiver.received == []


def test_the_host_is_told_by_the_name_in_the_url(
    endpoint: WebhookEndpoint, receiver: Receiver
) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    port = receiver.url.rpartition(":")[2]
    named = replace(endpoint, url=f"http://hooks.example:{port}/")
    assert send(named, CheckedNetwork(allow_private=True, resolve=resolve)).is_delivered
    assert receiver.received[0].headers["host"] == f"hooks.example:{port}"


def test_over_tls_the_name_is_asked_for_and_the_checked_address_called(
    endpoint: WebhookEndpoint,
) -> None:
    """The server has no certificate, so the handshake ends with what it was asked for."""
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = lambda _socket, name, _context: asked.append(name)

    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.1"]

    async def scene() -> Result:
        async with await asyncio.start_server(
            lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context
        ) as server:
            port = server.sockets[0].getsockname()[1]
            named = replace(endpoint, url=f"https://hooks.example:{port}/")
            sender = Sender(CheckedNetwork(allow_private=True, resolve=resolve))
            return await sender.send(named, render(EVENT), NOW)

    assert asyncio.run(scene()).text == "could not connect, or the connection broke"
    assert asked == ["hooks.example"]


def test_proxies_of_the_environment_are_not_used(
    endpoint: WebhookEndpoint, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert send(endpoint).is_delivered
