"""API keys."""

from uuid import UUID

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas, translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.services import accounts

router = APIRouter(prefix="/keys")


@router.post("", status_code=201)
def create_key(body: schemas.CreateKey, ctx: InContext) -> schemas.CreatedKey:
    new = accounts.create_key(
        ctx,
        name=body.name,
        scopes=frozenset(body.scopes),
        expires_at=body.expires_at,
        email=body.email,
    )
    return translate.created_key(new)


@router.get("")
def list_keys(ctx: InContext) -> list[schemas.Key]:
    return [translate.key(key) for key in accounts.list_keys(ctx)]


@router.delete("/{key_id}", status_code=204)
def delete_key(key_id: UUID, ctx: InContext) -> None:
    accounts.delete_key(ctx, key_id)
