"""A plain client, for what is on the wire."""

from collections.abc import Iterator

import httpx
import pytest

from tests.contract.server import Caller, Server


@pytest.fixture
def http(server: Server, caller: Caller) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=f"{server.url}/client/v4", headers=headers, verify=False) as http:
        yield http
