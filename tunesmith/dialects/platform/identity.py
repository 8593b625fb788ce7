"""Identity: whose key this is, and what it may do."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from tunesmith.dialects.platform import schemas_overview as schemas
from tunesmith.dialects.platform import translate
from tunesmith.dialects.platform.auth import secret_of
from tunesmith.domain.accounts import Scope
from tunesmith.domain.ids import to_base36
from tunesmith.http import context_dependency, request_id_of
from tunesmith.services.context import Context

router = APIRouter(prefix="/auth", tags=["identity"])

Anybody = Annotated[Context, Depends(context_dependency(secret_of, writes=False), scope="function")]


@router.get("/whoami")
def retrieve_whoami(request: Request, ctx: Anybody) -> schemas.WhoAmI:
    """For any key, whatever its scopes. `scopes` are those it was given, `mayDo` what follows."""
    key = ctx.key
    owner = f"user_{to_base36(key.user_id or key.id)}"
    return schemas.WhoAmI(
        data=schemas.Identity(
            userId=owner,
            email=key.email,
            name=key.name,
            roles=[] if key.role is None else [key.role.value],
            organization=schemas.Organization(
                id=f"org_{to_base36(ctx.organization.id)}",
                name=ctx.organization.name,
                slug=ctx.organization.slug,
            ),
            apiKey=schemas.ApiKey(
                id=str(key.id),
                name=key.name,
                keyPrefix=key.visible_prefix,
                scopes=sorted(scope.value for scope in key.scopes),
                mayDo=[scope.value for scope in Scope if key.allows(scope)],
                createdAt=translate.seconds(key.created_at),
                expiresAt=None if key.expires_at is None else translate.seconds(key.expires_at),
                lastUsedAt=(
                    None if key.last_used_at is None else translate.seconds(key.last_used_at)
                ),
            ),
        ),
        meta=schemas.Meta(requestId=request_id_of(request)),
    )
