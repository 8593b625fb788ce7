"""Permissions on checkpoints: grant, list, revoke; for keys with the right to administer."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tunesmith.dialects.openai import models, schemas, translate
from tunesmith.dialects.openai import schemas_permissions as wire
from tunesmith.dialects.openai.auth import InContext, InReadContext
from tunesmith.domain.accounts import Scope
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import Page
from tunesmith.domain.permissions import ModelPermission
from tunesmith.services import permissions
from tunesmith.services.context import Context

router = APIRouter(prefix="/fine_tuning/checkpoints", tags=["permissions"])


# The name of a model may contain slashes, so it takes all that comes before `/permissions`.
@router.post("/{name:path}/permissions")
def create_permissions(
    name: str, body: wire.CreatePermissions, ctx: InContext
) -> wire.PermissionList:
    granted = permissions.grant(ctx, _checkpoint(ctx, name), body.project_ids)
    return _listed(Page(items=granted, has_more=False))


@router.get("/{name:path}/permissions")
def list_permissions(
    name: str,
    ctx: InReadContext,
    project_id: wire.ProjectId | None = None,
    after: str | None = None,
    limit: Annotated[int, Query(ge=0, le=1000)] = 10,
    order: Literal["ascending", "descending"] = "descending",
) -> wire.PermissionList:
    model = _checkpoint(ctx, name)
    page = translate.page_request("permission", limit, after, ascending=order == "ascending")
    return _listed(permissions.list_(ctx, model, project_id, page))


@router.delete("/{name:path}/permissions/{permission_id}")
def delete_permission(name: str, permission_id: str, ctx: InContext) -> schemas.Deleted:
    model = _checkpoint(ctx, name)
    permissions.revoke(ctx, model, translate.inner_id("permission", permission_id))
    return schemas.Deleted(id=permission_id, object="checkpoint.permission")


def _checkpoint(ctx: Context, name: str) -> TunedModel:
    ctx.require(Scope.ADMIN)  # before anything is said about what there is
    return models.owned(ctx, name)


def _listed(page: Page[ModelPermission]) -> wire.PermissionList:
    data = [
        wire.Permission(
            id=translate.outer_id("cp_", permission.id),
            created_at=translate.seconds(permission.created_at),
            project_id=permission.project,
        )
        for permission in page.items
    ]
    return wire.PermissionList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )
