"""A plain client, for what is on the wire; and a base model with weights to fit."""

from collections.abc import Iterator
from dataclasses import replace

import cloudflare
import httpx
import pytest

from tests.contract.cloudflare.support import MODEL, Account
from tests.contract.server import Caller, Server, now
from tunesmith.app import TINY, TINY_FOLDER
from tunesmith.services import weights


@pytest.fixture(scope="package", autouse=True)
def tiny(server: Server) -> Iterator[None]:
    """Offered for these tests alone."""
    entry = weights.describe(
        TINY_FOLDER, name=TINY, source="test", aliases=(MODEL, "tiny-llama"), now=now()
    )
    with server.database.write() as store:
        store.models.put_base(replace(entry, learning_rate=1e-3))
    yield
    with server.database.write() as store:
        store.models.delete_base(TINY)


@pytest.fixture
def http(server: Server, caller: Caller) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=f"{server.url}/client/v4", headers=headers, verify=False) as http:
        yield http


@pytest.fixture
def account(server: Server, caller: Caller) -> Iterator[Account]:
    with Account(server, caller) as account:
        yield account


@pytest.fixture
def stranger(server: Server) -> Iterator[Account]:
    with Account(server, server.new_caller()) as account:
        yield account


@pytest.fixture
def client(server: Server, caller: Caller) -> Iterator[cloudflare.Cloudflare]:
    with cloudflare.Cloudflare(
        api_token=caller.secret, base_url=f"{server.url}/client/v4", max_retries=0
    ) as client:
        yield client
