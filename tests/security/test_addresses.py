"""No form of an address has the server call anything but the public internet.

What is called is looked at below the resolver, where connections are made: `127.1` is for it to
understand, and for us to look at what it made of it.
"""

import asyncio
import ipaddress
from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

from tests.security.world import House, Tenant
from tunesmith.domain.webhooks import Message, WebhookEndpoint, check_url, new_signing_secret
from tunesmith.outbox.sending import CheckedNetwork, Result, Sender

# Itself, private networks, shared ones, a cloud's metadata, multicast, everybody.
PRIVATE = ("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1", "169.254.169.254")
NAMES = (
    "localhost",
    "LOCALHOST",
    "localhost.",
    "ip6-localhost",
    "localhost.localdomain",
    "a.local",
)
OTHERS = (
    *("0", "0.0.0.0", "127.255.255.254", "224.0.0.1", "239.255.255.250", "255.255.255.255"),
    *("[::]", "[::1]", "[::0001]", "[fe80::1]", "[fe80::1%25lo]", "[fc00::1]", "[ff02::1]"),
    *(
        "[fd00:ec2::254]",
        "[2001:db8::1]",
        "[::1",
        "::1",
        "[127.0.0.1]",
        "127.0.0.1.",
        "127。0。0。1",
    ),
    *("①②⑦.⓪.⓪.①", "127.0.0.1%00.example.com", "127.0.0.1%2eexample.com", "%31%32%37.0.0.1"),
    *(
        "127.0.0.1\\@example.com",
        "example.com@127.0.0.1",
        "a:b@127.0.0.1",
        "127.0.0.1:80@example.com",
    ),
    *("example.com#@127.0.0.1", "example.com\\.127.0.0.1", "127.0.0.1\texample.com", " 127.0.0.1"),
    *("127.0.0.1\r\nHost: a", "1" * 400, "0x7f.1", "0177.1", "127.0.1", "00000177.0.0.1", "-1", ""),
)
SCHEMES = ("file:///etc/passwd", "ftp://127.0.0.1/", "gopher://127.0.0.1/", "unix:///run/a.sock")


def forms() -> list[str]:
    """Of URLs that lead, or pretend to lead, to where nobody may have the server call."""
    hosts = [*NAMES, *OTHERS]
    for address in PRIVATE:
        hosts += _spellings(ipaddress.IPv4Address(address))
    plain = [f"http://{host}/" for host in hosts]
    return [*plain, *SCHEMES, "//127.0.0.1/", "http:127.0.0.1", "http:///127.0.0.1", "http://a:0/"]


def _spellings(address: ipaddress.IPv4Address) -> Iterator[str]:
    a, b, c, d = address.packed
    number = int(address)
    pair = f"{number >> 16:x}:{number & 0xFFFF:x}"
    yield from (str(address), str(number), hex(number), f"0{number:o}")
    yield from (f"{a}.{number & 0xFFFFFF}", f"{a}.{b}.{number & 0xFFFF}")
    yield ".".join(map(hex, (a, b, c, d)))
    yield ".".join(f"0{part:o}" for part in (a, b, c, d))
    yield f"0x{a:x}.{b}.0{c:o}.{d}"
    yield from (f"[::ffff:{address}]", f"[::ffff:{pair}]", f"[::{address}]", f"[::ffff:0:{pair}]")
    yield from (f"[64:ff9b::{pair}]", f"[64:ff9b:1::{pair}]", f"[2002:{pair}::]")
    yield from (f"[fe80::5efe:{pair}]", f"[2001:0:{pair}::]")


def called_by(url: str) -> tuple[Result, list[str]]:
    """The addresses to which a delivery would open connections."""
    called: list[str] = []
    network = CheckedNetwork(allow_private=False)

    async def connect_tcp(host: str, *_: object) -> object:
        called.append(host)
        raise OSError

    network._network.connect_tcp = connect_tcp  # type: ignore[method-assign, assignment]
    now = datetime.now(UTC)
    endpoint = WebhookEndpoint(
        id=uuid4(),
        organization_id=uuid4(),
        url=url,
        outcomes=frozenset(),
        secret=new_signing_secret(),
        created_at=now,
    )
    sending = Sender(network).send(endpoint, Message(id="m", body=b"{}"), now)
    return asyncio.run(sending), called


def test_no_form_of_an_address_is_called_that_is_not_public() -> None:
    tried = forms()
    assert len(tried) >= 100
    for url in tried:
        result, called = called_by(url)
        assert not result.is_delivered
        assert called == [], url


def test_a_public_address_is_called() -> None:
    """Else the test above could not fail."""
    for url in ("http://8.8.8.8/", "http://134744072/", "http://[2606:4700:4700::1111]/"):
        check_url(url, allow_private=False)
        assert len(called_by(url)[1]) == 1, url


def test_the_route_takes_no_url_that_says_where_it_must_not_lead(
    house: House, rival: Tenant
) -> None:
    """What a name leads to is found out at each delivery; numbers and forms are refused at once."""
    taken = []
    for url in forms():
        answer = house.ask("POST", "/admin/v1/webhooks", rival.secret, json={"url": url})
        if answer.status_code == 201:
            taken.append(url)
            house.ask("DELETE", f"/admin/v1/webhooks/{answer.json()['id']}", rival.secret)
        else:
            assert answer.status_code == 400, url
    assert all(called_by(url)[1] == [] for url in taken)
    for address in PRIVATE:
        assert f"http://{address}/" not in taken
