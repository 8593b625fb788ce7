"""An organization's keys: create, list, change, rotate, revoke."""

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tunesmith.domain.accounts import Key, Scope, User, included_in
from tunesmith.domain.errors import Conflict, InvalidRequest, PermissionDenied
from tunesmith.services import accounts, audit, users
from tunesmith.services.accounts import NewKey
from tunesmith.services.context import Context

MAX_OVERLAP = timedelta(days=7)


def create(
    ctx: Context,
    *,
    name: str,
    scopes: frozenset[Scope],
    expires_at: datetime | None = None,
    email: str | None = None,
    user: str | None = None,
) -> NewKey:
    """`user` is a user's id or e-mail, whose role bounds the key; without one it is a service's.

    `email` is that of a service's owner, for clients that name it beside the key.
    """
    ctx.require(Scope.ADMIN)
    owner = None if user is None else users.find(ctx, user)
    _check_scopes(ctx, scopes, owner)
    made = accounts.new_key(
        ctx.organization, name=name, scopes=scopes, now=ctx.now(), expires_at=expires_at
    )
    key = replace(made.key, email=email)
    if owner is not None:
        key = replace(key, user_id=owner.id, role=owner.role, email=owner.email)
    ctx.store.accounts.add_key(key)
    audit.record(ctx, "key.create", key.id, after=key)
    return NewKey(key=key, secret=made.secret)


def list_(ctx: Context, *, with_revoked: bool = False) -> tuple[Key, ...]:
    ctx.require(Scope.ADMIN)
    found = ctx.store.accounts.list_keys(ctx.owner)
    return tuple(key for key in found if with_revoked or key.revoked_at is None)


def get(ctx: Context, key_id: UUID) -> Key:
    ctx.require(Scope.ADMIN)
    return ctx.store.accounts.get_key(key_id, ctx.owner)


def update(ctx: Context, key_id: UUID, changes: dict[str, Any]) -> Key:
    """`changes` may hold `name`, `scopes` and `expires_at`."""
    key = _get_alive(ctx, key_id)
    if "scopes" in changes:
        _check_scopes(ctx, changes["scopes"], _user_of(ctx, key))
    changed = replace(key, **changes)
    ctx.store.accounts.change_key(changed)
    audit.record(ctx, "key.update", key.id, before=key, after=changed)
    return changed


def rotate(ctx: Context, key_id: UUID, overlap: timedelta) -> NewKey:
    """Another key in the place of this one, which goes on opening for the time of the overlap."""
    key = _get_alive(ctx, key_id)
    if not timedelta() <= overlap <= MAX_OVERLAP:
        raise InvalidRequest("The overlap may be seven days at most.", param="overlap_seconds")
    made = accounts.new_key(
        ctx.organization,
        name=key.name,
        scopes=key.scopes,
        now=ctx.now(),
        expires_at=key.expires_at,
    )
    new = replace(made.key, email=key.email, user_id=key.user_id, role=key.role)
    ctx.store.accounts.add_key(new)
    ends_at = ctx.now() + overlap
    old = (
        replace(key, expires_at=min(ends_at, key.expires_at or ends_at))
        if overlap
        else replace(key, revoked_at=ctx.now())
    )
    ctx.store.accounts.change_key(old)
    audit.record(ctx, "key.rotate", key.id, before=key, after=new)
    return NewKey(key=new, secret=made.secret)


def revoke(ctx: Context, key_id: UUID) -> None:
    """At once and for good; it is still listed among those that were revoked."""
    key = _get_alive(ctx, key_id)
    revoked = replace(key, revoked_at=ctx.now())
    ctx.store.accounts.change_key(revoked)
    audit.record(ctx, "key.revoke", key.id, before=key, after=revoked)


def _get_alive(ctx: Context, key_id: UUID) -> Key:
    """One that may be changed: nobody changes a key that may do what theirs may not."""
    key = get(ctx, key_id)
    if key.revoked_at is not None:
        raise Conflict("The key has been revoked; make another one.")
    _check_scopes(ctx, key.scopes, None)
    return key


def _user_of(ctx: Context, key: Key) -> User | None:
    return None if key.user_id is None else ctx.store.accounts.get_user(key.user_id, ctx.owner)


def _check_scopes(ctx: Context, scopes: Collection[Scope], owner: User | None) -> None:
    """Nobody gives what they have not got, and no user gets what their role has not."""
    for scope in sorted(scopes):
        if not ctx.key.allows(scope):
            raise PermissionDenied(
                f"This key lacks the scope {scope.value!r}, and sees to no key that has it."
            )
        if owner is not None and not included_in(scope) <= owner.role.scopes:
            raise InvalidRequest(
                f"A user who is {owner.role.value} cannot have a key with {scope.value!r}.",
                param="scopes",
            )
