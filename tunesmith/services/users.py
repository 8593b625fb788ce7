"""The people of an organization; what their keys may do at most is their role's."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Role, Scope, User
from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.services import audit
from tunesmith.services.context import Context


def create(ctx: Context, *, email: str, name: str, role: Role) -> User:
    ctx.require(Scope.ADMIN)
    plain = _plain(email)
    if ctx.store.accounts.find_user(plain, ctx.owner) is not None:
        raise Conflict(f"There is a user {plain} already.", param="email")
    user = User(
        id=uuid4(),
        organization_id=ctx.owner,
        email=plain,
        name=name,
        role=role,
        created_at=ctx.now(),
    )
    ctx.store.accounts.add_user(user)
    audit.record(ctx, "user.create", user.id, after=user)
    return user


def list_(ctx: Context) -> tuple[User, ...]:
    ctx.require(Scope.ADMIN)
    return ctx.store.accounts.list_users(ctx.owner)


def get(ctx: Context, user_id: UUID) -> User:
    ctx.require(Scope.ADMIN)
    return ctx.store.accounts.get_user(user_id, ctx.owner)


def find(ctx: Context, reference: str) -> User:
    """By id or e-mail; raises `NotFound`."""
    ctx.require(Scope.ADMIN)
    try:
        return get(ctx, UUID(reference))
    except ValueError:
        user = ctx.store.accounts.find_user(_plain(reference), ctx.owner)
    if user is None:
        raise NotFound("user", reference, param="user")
    return user


def update(ctx: Context, user_id: UUID, changes: dict[str, Any]) -> User:
    """`changes` may hold `name` and `role`; a new role holds for the user's keys at once."""
    user = get(ctx, user_id)
    changed = replace(user, **changes)
    ctx.store.accounts.change_user(changed)
    audit.record(ctx, "user.update", user.id, before=user, after=changed)
    return changed


def delete(ctx: Context, user_id: UUID) -> None:
    """Their keys are revoked; what they made stays the organization's."""
    user = get(ctx, user_id)
    now = ctx.now()
    for key in ctx.store.accounts.list_keys(ctx.owner):
        if key.user_id == user.id and key.revoked_at is None:
            ctx.store.accounts.change_key(replace(key, revoked_at=now))
    ctx.store.accounts.delete_user(user)
    audit.record(ctx, "user.delete", user.id, before=user)


def _plain(email: str) -> str:
    return email.strip().casefold()
