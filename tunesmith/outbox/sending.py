"""Signed HTTP requests to addresses that users gave, which may lead nowhere but the internet."""

import asyncio
import base64
import hashlib
import hmac
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import httpcore
import structlog

from tunesmith.domain.addresses import is_public
from tunesmith.domain.webhooks import NOT_PUBLIC, SECRET_PREFIX, Message, WebhookEndpoint

log = structlog.get_logger()

CONNECT_SECONDS = 5.0
TOTAL_SECONDS = 10.0

Resolve = Callable[[str, int], Awaitable[list[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    is_delivered: bool
    text: str


class AddressRefused(Exception):
    """The host is, or resolves to, an address that is not public."""


async def resolve(host: str, port: int) -> list[str]:
    """All numeric addresses of a name."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Resolves a name once, checks all of its addresses, and connects to one that was checked.

    Were the name looked up again to connect, it could have come to mean something else. TLS and
    the `Host` header go by the name: they are not made here.
    """

    def __init__(self, *, allow_private: bool, resolve: Resolve = resolve) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = await self._resolve(host, port)
        if not self._allow_private and not all(map(is_public, addresses)):
            raise AddressRefused
        failure: Exception = httpcore.ConnectError("The name has no address.")
        for address in addresses:
            try:
                return await self._network.connect_tcp(
                    address, port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure


class Sender:
    """Follows no redirects, knows no proxies, and reads no more of an answer than its head."""

    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network = network

    async def send(self, endpoint: WebhookEndpoint, message: Message, now: datetime) -> Result:
        """Never raises: whatever happens to the attempt is its result."""
        try:
            async with asyncio.timeout(TOTAL_SECONDS):
                status = await self._post(endpoint, message, now)
        except AddressRefused:
            return _missed(f"the host's address is {NOT_PUBLIC}")
        except (TimeoutError, httpcore.TimeoutException):
            return _missed("no answer in time")
        except (httpcore.NetworkError, OSError, UnicodeError):
            return _missed("could not connect, or the connection broke")
        except httpcore.ProtocolError:
            return _missed("the answer was not HTTP")
        except Exception:
            log.exception("webhook not sent", endpoint=str(endpoint.id))
            return _missed("could not be sent; the server's log has more")
        return Result(is_delivered=200 <= status < 300, text=f"answered {status}")

    async def _post(self, endpoint: WebhookEndpoint, message: Message, now: datetime) -> int:
        seconds = {"connect": CONNECT_SECONDS, "read": TOTAL_SECONDS, "write": TOTAL_SECONDS}
        async with (
            # A pool for one request: an endpoint that others share an address with gets no
            # connection that was opened for them.
            httpcore.AsyncConnectionPool(ssl_context=_tls(), network_backend=self._network) as pool,
            pool.stream(
                "POST",
                endpoint.url,
                headers=headers(endpoint.secret, message, now),
                content=message.body,
                extensions={"timeout": seconds},
            ) as response,
        ):
            return response.status


@cache
def _tls() -> ssl.SSLContext:
    """Made once: reading the certificates takes a tenth of a second."""
    return httpcore.default_ssl_context()


def headers(secret: str, message: Message, now: datetime) -> list[tuple[str, str]]:
    """By the Standard Webhooks specification; the signature is over id, time and body."""
    timestamp = str(int(now.timestamp()))
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    signed = b".".join((message.id.encode(), timestamp.encode(), message.body))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return [
        ("Content-Type", "application/json"),
        ("User-Agent", "Tunesmith"),
        ("webhook-id", message.id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", f"v1,{signature}"),
    ]


def _missed(text: str) -> Result:
    return Result(is_delivered=False, text=text)
