"""Who a secret belongs to, and the keys that an installation starts with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import uuid4

from tunesmith.domain.accounts import (
    Credential,
    Key,
    Organization,
    Scope,
    digest_of,
    is_same_email,
    new_secret,
    visible_prefix_of,
)
from tunesmith.domain.errors import Unauthenticated
from tunesmith.store.database import Store

DEFAULT_ORGANIZATION = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key with its secret, which is shown this once."""

    key: Key
    secret: str


def authenticate(store: Store, secret: str, now: datetime) -> tuple[Organization, Key]:
    """Whose key this is.

    Raises `Unauthenticated` in the same words for a key that is unknown, expired or revoked, or
    whose organization is suspended.
    """
    found = store.accounts.find_key(digest_of(secret))
    key, organization = (None, None) if found is None else found
    if (
        key is not None
        and organization is not None
        and key.is_alive(now)
        and organization.suspended_at is None
    ):
        return organization, key
    raise Unauthenticated(
        f"Incorrect API key provided: {visible_prefix_of(secret)}***. "
        "Make one with `tunesmith keys create`.",
        key_id=None if key is None else key.id,
        organization_id=None if key is None else key.organization_id,
    )


def authenticate_one_of(
    store: Store, credentials: Sequence[Credential], now: datetime
) -> tuple[Organization, Key]:
    """Whose the first good credential is; raises `Unauthenticated`, as for the first, if none is.

    There must be one at least.
    """
    first_error = None
    for credential in credentials:
        try:
            organization, key = authenticate(store, credential.secret, now)
            _require_email(key, credential)
        except Unauthenticated as error:
            first_error = first_error or error
        else:
            return organization, key
    assert first_error is not None
    raise first_error


def ensure_key(
    store: Store, *, name: str, scopes: frozenset[Scope], secret: str, now: datetime
) -> None:
    """A key that the operator or the installation chose, in the default organization.

    Whoever can choose it may also take back that it was revoked.
    """
    found = store.accounts.find_key(digest_of(secret))
    if found is None:
        owner = _default_organization(store, now)
        made = new_key(owner, name=name, scopes=scopes, secret=secret, now=now)
        store.accounts.add_key(made.key)
    elif found[0].revoked_at is not None:
        store.accounts.change_key(replace(found[0], revoked_at=None))


def has_keys(store: Store) -> bool:
    organization = store.accounts.find_organization(DEFAULT_ORGANIZATION)
    return organization is not None and bool(store.accounts.list_keys(organization.id))


def new_key(
    organization: Organization,
    *,
    name: str,
    scopes: frozenset[Scope],
    now: datetime,
    secret: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Not stored yet. With a secret of its own unless one was chosen."""
    secret = secret or new_secret()
    key = Key(
        id=uuid4(),
        organization_id=organization.id,
        name=name,
        visible_prefix=visible_prefix_of(secret),
        digest=digest_of(secret),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
    )
    return NewKey(key=key, secret=secret)


def _require_email(key: Key, credential: Credential) -> None:
    if credential.email is None:
        return
    if key.email is None or not is_same_email(key.email, credential.email):
        raise Unauthenticated("The e-mail is not that of the key's owner.")


def _default_organization(store: Store, now: datetime) -> Organization:
    found = store.accounts.find_organization(DEFAULT_ORGANIZATION)
    if found is not None:
        return found
    made = Organization(id=uuid4(), name="Default", slug=DEFAULT_ORGANIZATION, created_at=now)
    store.accounts.add_organization(made)
    return made
