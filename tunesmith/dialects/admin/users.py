"""The people of an organization."""

from uuid import UUID

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.dialects.admin import translate_accounts as translate
from tunesmith.dialects.admin.auth import InOrganization
from tunesmith.services import users

router = APIRouter(prefix="/users")


@router.post("", status_code=201)
def create_user(body: schemas.CreateUser, ctx: InOrganization) -> schemas.User:
    return translate.user(users.create(ctx, email=body.email, name=body.name, role=body.role))


@router.get("")
def list_users(ctx: InOrganization) -> list[schemas.User]:
    return [translate.user(user) for user in users.list_(ctx)]


@router.get("/{user_id}")
def retrieve_user(user_id: UUID, ctx: InOrganization) -> schemas.User:
    return translate.user(users.get(ctx, user_id))


@router.patch("/{user_id}")
def update_user(user_id: UUID, body: schemas.UpdateUser, ctx: InOrganization) -> schemas.User:
    """A new role holds for the keys that the user has already."""
    return translate.user(users.update(ctx, user_id, translate.given(body)))


@router.delete("/{user_id}", status_code=204)
def delete_user(user_id: UUID, ctx: InOrganization) -> None:
    """Their keys are revoked."""
    users.delete(ctx, user_id)
