"""API keys of an organization."""

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.dialects.admin import translate_accounts as translate
from tunesmith.dialects.admin.auth import InOrganization
from tunesmith.services import keys

router = APIRouter(prefix="/keys")


@router.post("", status_code=201)
def create_key(body: schemas.CreateKey, ctx: InOrganization) -> schemas.CreatedKey:
    new = keys.create(
        ctx,
        name=body.name,
        scopes=frozenset(body.scopes),
        expires_at=body.expires_at,
        email=body.email,
        user=body.user,
    )
    return translate.created_key(new)


@router.get("")
def list_keys(ctx: InOrganization, revoked: bool = False) -> list[schemas.Key]:
    """With those that were revoked, if asked for."""
    return [translate.key(key) for key in keys.list_(ctx, with_revoked=revoked)]


@router.get("/{key_id}")
def retrieve_key(key_id: UUID, ctx: InOrganization) -> schemas.Key:
    return translate.key(keys.get(ctx, key_id))


@router.patch("/{key_id}")
def update_key(key_id: UUID, body: schemas.UpdateKey, ctx: InOrganization) -> schemas.Key:
    return translate.key(keys.update(ctx, key_id, translate.key_changes(body)))


@router.post("/{key_id}/rotate", status_code=201)
def rotate_key(key_id: UUID, body: schemas.RotateKey, ctx: InOrganization) -> schemas.CreatedKey:
    """Another secret; the old one opens nothing, or not for longer than the overlap."""
    overlap = timedelta(seconds=body.overlap_seconds)
    return translate.created_key(keys.rotate(ctx, key_id, overlap))


@router.delete("/{key_id}", status_code=204)
def revoke_key(key_id: UUID, ctx: InOrganization) -> None:
    keys.revoke(ctx, key_id)
