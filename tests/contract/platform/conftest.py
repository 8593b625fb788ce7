"""A plain client with a key: there is no client of the vendor's to test with."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import httpx
import pytest

from tests.contract.server import Caller, Server

Connect = Callable[[Caller], httpx.Client]


@pytest.fixture
def connect(server: Server) -> Iterator[Connect]:
    with ExitStack() as clients:

        def to(caller: Caller) -> httpx.Client:
            client = httpx.Client(
                base_url=f"{server.url}/api/v1",
                headers={"X-API-Key": caller.secret},
                verify=False,
            )
            return clients.enter_context(client)

        yield to


@pytest.fixture
def http(connect: Connect, caller: Caller) -> httpx.Client:
    return connect(caller)


@pytest.fixture
def stranger(connect: Connect, server: Server) -> httpx.Client:
    return connect(server.new_caller())
