"""The tenants of an installation, for its operator."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Organization, Scope
from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.services import audit
from tunesmith.services.context import Context


def create(ctx: Context, *, name: str, slug: str) -> Organization:
    ctx.require(Scope.OPERATOR)
    if ctx.store.accounts.find_organization(slug) is not None:
        raise Conflict(f"There is an organization {slug!r} already.", param="slug")
    made = Organization(id=uuid4(), name=name, slug=slug, created_at=ctx.now())
    ctx.store.accounts.add_organization(made)
    audit.record(replace(ctx, organization=made), "organization.create", made.id, after=made)
    return made


def list_(ctx: Context) -> tuple[Organization, ...]:
    ctx.require(Scope.OPERATOR)
    return ctx.store.accounts.list_organizations()


def get(ctx: Context, reference: str) -> Organization:
    """By id or slug. The caller's own; an operator's key finds them all."""
    ctx.require(Scope.ADMIN)
    if reference in (ctx.organization.slug, str(ctx.owner), ctx.owner.hex):
        return ctx.organization
    if not ctx.key.allows(Scope.OPERATOR):
        raise NotFound("organization", reference)
    found = ctx.store.accounts.find_organization(reference)
    if found is None:
        try:
            found = ctx.store.accounts.get_organization(UUID(reference))
        except ValueError:
            raise NotFound("organization", reference) from None
    return found


def update(ctx: Context, reference: str, changes: dict[str, Any]) -> Organization:
    """`changes` may hold `name` and `suspended_at`."""
    ctx.require(Scope.OPERATOR)
    organization = get(ctx, reference)
    if changes.get("suspended_at") is not None and organization.id == ctx.key.organization_id:
        raise Conflict("An organization cannot suspend itself.")
    changed = replace(organization, **changes)
    ctx.store.accounts.change_organization(changed)
    there = replace(ctx, organization=organization)
    action = "organization.update"
    audit.record(there, action, organization.id, before=organization, after=changed)
    return changed


def acting_for(ctx: Context, reference: str | None) -> Context:
    """The same caller, to see to the organization that is named."""
    return ctx if reference is None else replace(ctx, organization=get(ctx, reference))
