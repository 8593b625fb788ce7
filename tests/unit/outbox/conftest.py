"""An organization with a webhook at a real receiver."""

from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.factories import NOW, base_model, organization
from tests.receiver import Receiver, receiving
from tunesmith.domain.accounts import Organization
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import WebhookEndpoint, new_signing_secret
from tunesmith.http import Foundation
from tunesmith.services.context import House
from tunesmith.store.database import Database


@pytest.fixture
def foundation(database: Database, house: House) -> Foundation:
    return Foundation(database=database, house=house)


@pytest.fixture
def owner(database: Database) -> Organization:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
        store.models.put_base(base_model())
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def endpoint(database: Database, owner: Organization, receiver: Receiver) -> WebhookEndpoint:
    return add_endpoint(database, owner, f"{receiver.url}/hook?a=b")


def add_endpoint(database: Database, owner: Organization, url: str) -> WebhookEndpoint:
    made = WebhookEndpoint(
        id=uuid4(),
        organization_id=owner.id,
        url=url,
        outcomes=frozenset({JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED}),
        secret=new_signing_secret(),
        created_at=NOW,
    )
    with database.write() as store:
        store.webhooks.add_endpoint(made)
    return made
