"""Credential -> caller, and what the caller's key must allow."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, Request, Response
from pydantic import BaseModel

from tunesmith.domain.accounts import Credential, Scope
from tunesmith.domain.errors import Unauthenticated
from tunesmith.http import context_dependency, foundation_of
from tunesmith.services.context import Context


def secret_of(request: Request) -> str:
    """From `X-API-Key`, or else as a bearer."""
    secret = request.headers.get("x-api-key", "").strip()
    if secret:
        return secret
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise Unauthenticated("Send an API key as `X-API-Key: <key>`.")
    return secret.strip()


_writing = context_dependency(secret_of, writes=True)
_reading = context_dependency(secret_of, writes=False)


# The scope is asked for here, and not only in the services: it comes before all that a request
# says, whether well or badly.
async def _to_read(ctx: Annotated[Context, Depends(_reading, scope="function")]) -> Context:
    ctx.require(Scope.JOBS_READ)
    return ctx


async def _to_write(ctx: Annotated[Context, Depends(_writing, scope="function")]) -> Context:
    ctx.require(Scope.JOBS_WRITE)
    return ctx


ToRead = Annotated[Context, Depends(_to_read, scope="function")]
ToWrite = Annotated[Context, Depends(_to_write, scope="function")]


async def read_at_once(request: Request, read: Callable[[Context], BaseModel]) -> Response:
    """For what clients ask all the time."""

    def answer(ctx: Context) -> str:
        ctx.require(Scope.JOBS_READ)
        return read(ctx).model_dump_json()

    credentials = [Credential(secret=secret_of(request))]
    body = await foundation_of(request).read_as(credentials, answer)
    return Response(body, media_type="application/json")


@asynccontextmanager
async def as_caller(request: Request, scope: Scope, *, writes: bool) -> AsyncIterator[Context]:
    """For endpoints that must be out of the transaction before they are done."""
    foundation = foundation_of(request)
    async with foundation.as_caller(secret_of(request), writes=writes) as ctx:
        ctx.require(scope)
        yield ctx
