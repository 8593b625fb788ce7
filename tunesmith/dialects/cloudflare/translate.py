"""Wire <-> domain: accounts, pages."""

from tunesmith.dialects.cloudflare import schemas
from tunesmith.domain.accounts import Key, Organization


def account(organization: Organization) -> schemas.Account:
    return schemas.Account(
        id=organization.id.hex, name=organization.name, created_on=organization.created_at
    )


def membership(organization: Organization, key: Key) -> schemas.Membership:
    return schemas.Membership(id=key.id.hex, account=account(organization))


def token(key: Key) -> schemas.Token:
    return schemas.Token(id=key.id.hex, expires_on=key.expires_at)


def page_of(
    items: list[schemas.Result], page: int, per_page: int
) -> schemas.ResultPage[schemas.Result]:
    """One page of a list that is at hand; past the end it is empty, which is where clients stop."""
    start = (page - 1) * per_page
    shown = items[start : start + per_page]
    info = schemas.ResultInfo(
        page=page, per_page=per_page, count=len(shown), total_count=len(items)
    )
    return schemas.ResultPage(result=shown, result_info=info)
