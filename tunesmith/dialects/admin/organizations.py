"""The tenants of this installation, for its operator."""

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.dialects.admin import translate_accounts as translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.services import organizations

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
