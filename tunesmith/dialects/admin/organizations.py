"""The tenants of this installation, for its operator."""

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.dialects.admin import translate_accounts as translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.services import organizations, quotas

router = APIRouter(prefix="/organizations")


@router.post("", status_code=201)
def create_organization(body: schemas.CreateOrganization, ctx: InContext) -> schemas.Organization:
    return translate.organization(organizations.create(ctx, name=body.name, slug=body.slug))


@router.get("")
def list_organizations(ctx: InContext) -> list[schemas.Organization]:
    return [translate.organization(found) for found in organizations.list_(ctx)]


@router.get("/{reference}")
def retrieve_organization(reference: str, ctx: InContext) -> schemas.Organization:
    """By id or slug; others than the key's own for operators."""
    return translate.organization(organizations.get(ctx, reference))


@router.patch("/{reference}")
def update_organization(
    reference: str, body: schemas.UpdateOrganization, ctx: InContext
) -> schemas.Organization:
    """While it is suspended, its keys open nothing."""
    changes = translate.organization_changes(body, ctx.now())
    return translate.organization(organizations.update(ctx, reference, changes))


@router.get("/{reference}/quota")
def retrieve_quota(reference: str, ctx: InContext) -> schemas.Quota:
    """What the organization may have, and what it has now."""
    return translate.quota(*quotas.get(ctx, reference))


@router.patch("/{reference}/quota")
def update_quota(reference: str, body: schemas.UpdateQuota, ctx: InContext) -> schemas.Quota:
    """For operators. What runs or is stored already stays."""
    changes = translate.quota_changes(body)
    return translate.quota(*quotas.change(ctx, reference, changes))
