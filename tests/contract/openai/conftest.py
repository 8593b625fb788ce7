"""OpenAI's own client, which believes nothing that is not as documented; and a plain one."""

from collections.abc import Iterator
from uuid import uuid4

import httpx
import openai
import pytest

from tests.contract.server import Caller, Server
from tunesmith.domain.accounts import Key, Scope, digest_of, new_secret


@pytest.fixture(scope="session")
def anyone(server: Server) -> Iterator[openai.OpenAI]:
    """The client of nobody in particular: the others share its connections."""
    with openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key="nobody",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


STRICT = {"_strict_response_validation": True}  # copies of a client forget it


@pytest.fixture
def client(anyone: openai.OpenAI, caller: Caller) -> openai.OpenAI:
    return anyone.with_options(api_key=caller.secret, _extra_kwargs=STRICT)


@pytest.fixture
def lax_client(anyone: openai.OpenAI, caller: Caller) -> openai.OpenAI:
    """For what a strict client refuses from the original too."""
    return anyone.with_options(api_key=caller.secret)


@pytest.fixture
def stranger(anyone: openai.OpenAI, server: Server) -> openai.OpenAI:
    return anyone.with_options(api_key=server.new_caller().secret, _extra_kwargs=STRICT)


@pytest.fixture
def admin(anyone: openai.OpenAI, server: Server, caller: Caller) -> openai.OpenAI:
    """A key of the caller's organization that may administer."""
    secret = new_secret()
    key = Key(
        id=uuid4(),
        organization_id=caller.organization.id,
        name="admin",
        visible_prefix="ts_",
        digest=digest_of(secret),
        scopes=frozenset({Scope.ADMIN}),
        created_at=caller.organization.created_at,
        expires_at=None,
    )
    with server.database.write() as store:
        store.accounts.add_key(key)
    return anyone.with_options(api_key=secret, _extra_kwargs=STRICT)


@pytest.fixture
def http(server: Server, caller: Caller) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {caller.secret}"}
    with httpx.Client(base_url=f"{server.url}/v1", headers=headers, verify=False) as http:
        yield http
