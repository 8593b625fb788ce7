"""Credential -> caller."""

from typing import Annotated

from fastapi import Depends, Request

from tunesmith.domain.errors import Unauthenticated
from tunesmith.http import context_dependency
from tunesmith.services.context import Context


def secret_of(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret:
        raise Unauthenticated("Send an admin key as `Authorization: Bearer <key>`.")
    return secret


InContext = Annotated[
    Context, Depends(context_dependency(secret_of, writes=True), scope="function")
]
