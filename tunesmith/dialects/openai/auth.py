"""Credential -> caller."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from tunesmith.dialects.openai.headers import ORGANIZATION
from tunesmith.domain.accounts import Credential
from tunesmith.domain.errors import Unauthenticated
from tunesmith.http import context_dependency, foundation_of
from tunesmith.services.context import Context


def secret_of(request: Request) -> str:
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated(
            "You didn't provide an API key. Send it as `Authorization: Bearer <key>`."
        )
    return secret.strip()


_writing = context_dependency(secret_of, writes=True)
_reading = context_dependency(secret_of, writes=False)


async def _in_context(
    request: Request, ctx: Annotated[Context, Depends(_writing, scope="function")]
) -> Context:
    return _told(request, ctx)


async def _in_read_context(
    request: Request, ctx: Annotated[Context, Depends(_reading, scope="function")]
) -> Context:
    return _told(request, ctx)


InContext = Annotated[Context, Depends(_in_context, scope="function")]
InReadContext = Annotated[Context, Depends(_in_read_context, scope="function")]
Secret = Annotated[str, Depends(secret_of)]


@asynccontextmanager
async def as_caller(request: Request, *, writes: bool) -> AsyncIterator[Context]:
    """For endpoints that must be out of the transaction before they are done."""
    foundation = foundation_of(request)
    async with foundation.as_caller(secret_of(request), writes=writes) as ctx:
        yield _told(request, ctx)


async def read_at_once(request: Request, read: Callable[[Context], BaseModel]) -> Response:
    """For what clients ask all the time."""

    def answer(ctx: Context) -> str:
        return read(_told(request, ctx)).model_dump_json(by_alias=True)

    credentials = [Credential(secret=secret_of(request))]
    body = await foundation_of(request).read_as(credentials, answer)
    return Response(body, media_type="application/json")


def _told(request: Request, ctx: Context) -> Context:
    request.scope[ORGANIZATION] = ctx.organization.slug
    return ctx
