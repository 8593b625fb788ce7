"""Who the caller is: what clients ask before, or after, they do something."""

from typing import Annotated

from fastapi import APIRouter, Query

from tunesmith.dialects.cloudflare import schemas, translate
from tunesmith.dialects.cloudflare.auth import InReadContext
from tunesmith.domain.errors import PermissionDenied

router = APIRouter(tags=["account"])

Page = Annotated[int, Query(ge=1, le=1_000_000)]
PerPage = Annotated[int, Query(ge=1, le=1000)]


@router.get("/user/tokens/verify", response_model_exclude_none=True)
def verify_token(ctx: InReadContext) -> schemas.Envelope[schemas.Token]:
    return schemas.Envelope(result=translate.token(ctx.key))


@router.get("/user")
def get_user(ctx: InReadContext) -> schemas.Envelope[schemas.User]:
    if ctx.key.email is None:
        raise PermissionDenied(
            "Nobody's e-mail is known for this key; make one with `tunesmith keys create --email`.",
            code="user_unknown",
        )
    return schemas.Envelope(result=schemas.User(id=ctx.key.id.hex, email=ctx.key.email))


@router.get("/accounts")
def list_accounts(
    ctx: InReadContext, page: Page = 1, per_page: PerPage = 20
) -> schemas.ResultPage[schemas.Account]:
    """The one that the key belongs to."""
    return translate.page_of([translate.account(ctx.organization)], page, per_page)


@router.get("/memberships")
def list_memberships(
    ctx: InReadContext, page: Page = 1, per_page: PerPage = 20
) -> schemas.ResultPage[schemas.Membership]:
    return translate.page_of([translate.membership(ctx.organization, ctx.key)], page, per_page)
