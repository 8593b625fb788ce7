"""Every method of the official client is called, or listed with the reason why it cannot be.

The methods are found in the client itself: a new version of it shows here what is missing.
"""

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import cloudflare
import pytest

from scripts.reference_dialects import NOT_SERVED_OF_CLOUDFLARE
from tests import adapter_files
from tests.contract.cloudflare.support import CONFIG, MODEL, WEIGHTS, Account, refused
from tests.contract.server import Caller, ScriptedSampler, Server

HI: Any = [{"role": "user", "content": "Hi."}]


class Given:
    """The strict client refuses what the documents say otherwise; the other one takes all."""

    def __init__(self, strict: cloudflare.Cloudflare, plain: cloudflare.Cloudflare, id: str):
        self.strict, self.plain, self.id = strict.ai, plain.ai, id

    @cached_property
    def finetune(self) -> str:
        named = {"account_id": self.id, "model": MODEL, "name": "mine"}
        made = self.strict.finetunes.create(**named, public=True)
        assert made is not None
        return made.id

    @cached_property
    def assets(self) -> list[Any]:
        upload = self.strict.finetunes.assets.create
        contents = {CONFIG: adapter_files.config(), WEIGHTS: adapter_files.weights()}
        return [
            upload(self.finetune, account_id=self.id, file=content, file_name=name)
            for name, content in contents.items()
        ]


CALLS: dict[str, Callable[[Given], Any]] = {
    "ai.finetunes.create": lambda g: g.finetune,
    "ai.finetunes.assets.create": lambda g: g.assets,
    # Its type is one object, where wrangler needs them all.
    "ai.finetunes.list": lambda g: (
        g.finetune and list(g.plain.finetunes.list(account_id=g.id) or ())
    ),
    "ai.finetunes.public.list": lambda g: (
        g.assets
        and list(
            g.strict.finetunes.public.list(
                account_id=g.id, limit=5, offset=0, order_by="created_at"
            )
        )
    ),
    "ai.models.list": lambda g: list(g.strict.models.list(account_id=g.id, per_page=1)),
    "ai.models.schema.get": lambda g: g.strict.models.schema.get(account_id=g.id, model=MODEL),
    "ai.tasks.list": lambda g: list(g.strict.tasks.list(account_id=g.id)),
    "ai.authors.list": lambda g: list(g.strict.authors.list(account_id=g.id)),
    "ai.run": lambda g: g.strict.run(MODEL, account_id=g.id, messages=HI),
}


@pytest.fixture
def strict(server: Server, caller: Caller) -> Iterator[cloudflare.Cloudflare]:
    with cloudflare.Cloudflare(
        api_token=caller.secret,
        base_url=f"{server.url}/client/v4",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


@pytest.fixture
def given(
    strict: cloudflare.Cloudflare, client: cloudflare.Cloudflare, account: Account
) -> Iterator[Given]:
    yield Given(strict, client, account.id)
    account.http.delete("/finetunes/mine")  # which everybody would see


def methods_of(resource: Any, prefix: str) -> Iterator[str]:
    """The public methods of a resource and of those below it."""
    for attribute in dir(type(resource)):
        if attribute.startswith(("_", "with_")):
            continue
        found = getattr(type(resource), attribute)
        if isinstance(found, property | cached_property):
            yield from methods_of(getattr(resource, attribute), f"{prefix}{attribute}.")
        elif callable(found):
            yield f"{prefix}{attribute}"


def test_every_method_of_the_client_is_accounted_for(client: cloudflare.Cloudflare) -> None:
    assert sorted(methods_of(client.ai, "ai.")) == sorted([*CALLS, *NOT_SERVED_OF_CLOUDFLARE])


@pytest.mark.parametrize("method", CALLS)
def test_a_method_is_answered_as_the_strict_client_wants_it(
    given: Given, sampler: ScriptedSampler, method: str
) -> None:
    assert CALLS[method](given)


@pytest.mark.parametrize("method", NOT_SERVED_OF_CLOUDFLARE)
def test_what_is_not_served_is_said_to_be_unknown(account: Account, method: str) -> None:
    verb, path = NOT_SERVED_OF_CLOUDFLARE[method][0].split()
    below = path.removeprefix("/accounts/{account_id}/ai")
    refused(account.http.request(verb, below), 404, 7003, 7000)
