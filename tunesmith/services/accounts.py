"""Organizations and keys."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

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
from tunesmith.domain.errors import NotFound, Unauthenticated
from tunesmith.services.context import Context
from tunesmith.store.database import Store

DEFAULT_ORGANIZATION = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key with its secret, which is shown this once."""

    key: Key
    secret: str


def authenticate(store: Store, secret: str, now: datetime) -> tuple[Organization, Key]:
    """Whose key this is; raises `Unauthenticated` for an unknown or expired one."""
    key = store.accounts.find_key(digest_of(secret))
    if key is None or (key.expires_at is not None and key.expires_at <= now):
        raise Unauthenticated(
            f"Incorrect API key provided: {visible_prefix_of(secret)}***. "
            "Make one with `tunesmith keys create`."
        )
    return store.accounts.get_organization(key.organization_id), key


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


def create_key(
    ctx: Context,
    *,
    name: str,
    scopes: frozenset[Scope],
    expires_at: datetime | None = None,
    email: str | None = None,
) -> NewKey:
    """`email` is that of the key's owner, for clients that name it beside the key."""
    ctx.require(Scope.ADMIN)
    return _add_key(
        ctx.store, ctx.organization, name, scopes, new_secret(), ctx.now(), expires_at, email
    )


def list_keys(ctx: Context) -> tuple[Key, ...]:
    ctx.require(Scope.ADMIN)
    return ctx.store.accounts.list_keys(ctx.owner)


def delete_key(ctx: Context, key_id: UUID) -> None:
    ctx.require(Scope.ADMIN)
    if not ctx.store.accounts.delete_key(key_id, ctx.owner):
        raise NotFound("key", str(key_id))


def ensure_key(
    store: Store, *, name: str, scopes: frozenset[Scope], secret: str, now: datetime
) -> None:
    """A key that the operator or the installation chose, in the default organization."""
    if store.accounts.find_key(digest_of(secret)) is None:
        _add_key(store, _default_organization(store, now), name, scopes, secret, now)


def has_keys(store: Store) -> bool:
    organization = store.accounts.find_organization(DEFAULT_ORGANIZATION)
    return organization is not None and bool(store.accounts.list_keys(organization.id))


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


def _add_key(
    store: Store,
    organization: Organization,
    name: str,
    scopes: frozenset[Scope],
    secret: str,
    now: datetime,
    expires_at: datetime | None = None,
    email: str | None = None,
) -> NewKey:
    key = Key(
        id=uuid4(),
        organization_id=organization.id,
        name=name,
        visible_prefix=visible_prefix_of(secret),
        digest=digest_of(secret),
        scopes=scopes,
        created_at=now,
        expires_at=expires_at,
        email=email,
    )
    store.accounts.add_key(key)
    return NewKey(key=key, secret=secret)
