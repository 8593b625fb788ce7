"""Letting other organizations ask a tuned model."""

from collections.abc import Iterable
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import NotFound
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import Page, PageRequest
from tunesmith.domain.permissions import ModelPermission
from tunesmith.services import audit
from tunesmith.services.context import Context


def grant(ctx: Context, model: TunedModel, projects: Iterable[str]) -> tuple[ModelPermission, ...]:
    """One for each project, in that order; a project that has one already keeps it."""
    ctx.require(Scope.ADMIN)
    return tuple(_ensure(ctx, model, project) for project in dict.fromkeys(projects))


def list_(
    ctx: Context, model: TunedModel, project: str | None, page: PageRequest
) -> Page[ModelPermission]:
    ctx.require(Scope.ADMIN)
    return ctx.store.permissions.list_(model.id, project, page)


def revoke(ctx: Context, model: TunedModel, permission_id: UUID) -> None:
    ctx.require(Scope.ADMIN)
    if not ctx.store.permissions.delete(permission_id, model.id):
        raise NotFound("permission", str(permission_id))
    audit.record(ctx, "permission.revoke", permission_id, before=model)


def _ensure(ctx: Context, model: TunedModel, project: str) -> ModelPermission:
    there = ctx.store.permissions.find(model.id, project)
    if there is not None:
        return there
    organization = ctx.store.accounts.find_organization(project)
    made = ModelPermission(
        id=uuid4(),
        model_id=model.id,
        project=project,
        organization_id=None if organization is None else organization.id,
        created_at=ctx.now(),
    )
    ctx.store.permissions.add(made)
    audit.record(ctx, "permission.grant", made.id, after=made)
    return made
