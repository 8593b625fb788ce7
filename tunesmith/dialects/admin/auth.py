"""Credential -> caller."""

from typing import Annotated

from fastapi import Depends, Query, Request

from tunesmith.domain.errors import Unauthenticated
from tunesmith.http import context_dependency
from tunesmith.services import organizations
from tunesmith.services.context import Context


def secret_of(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("Send an admin key as `Authorization: Bearer <key>`.")
    return secret


InContext = Annotated[
    Context, Depends(context_dependency(secret_of, writes=True), scope="function")
]

Organization = Annotated[
    str | None,
    Query(description="Id or slug of another organization than the key's own; for operators."),
]


def _in_organization(ctx: InContext, organization: Organization = None) -> Context:
    return organizations.acting_for(ctx, organization)


InOrganization = Annotated[Context, Depends(_in_organization, scope="function")]
