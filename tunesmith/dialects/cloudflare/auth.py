"""Credentials and account -> caller."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request

from tunesmith.domain.accounts import Credential
from tunesmith.domain.errors import InvalidRequest, NotFound, PermissionDenied, Unauthenticated
from tunesmith.http import foundation_of
from tunesmith.services.context import Context

MALFORMED_AUTHORIZATION = "malformed_authorization"
MALFORMED_AUTH_KEY = "malformed_auth_key"

_ACCOUNT_ID = re.compile("[0-9a-f]{32}")
_SECRET = re.compile("[!-~]{1,1024}")


def credentials_of(request: Request) -> tuple[Credential, ...]:
    """Whatever a request carries, in the order in which it is judged.

    Clients send several at once; so a malformed one matters only where it is the only one.
    """
    malformed: list[InvalidRequest] = []
    found: list[Credential] = []
    for read in (_bearer, _key_with_email, _service_key):
        try:
            found += read(request)
        except InvalidRequest as error:
            malformed.append(error)
    if not found and malformed:
        raise malformed[0]
    if not found:
        raise Unauthenticated(
            "Authentication error: send an API token as `Authorization: Bearer <token>`, or "
            "`X-Auth-Email` and `X-Auth-Key` together."
        )
    return tuple(found)


async def _in_context(request: Request) -> AsyncIterator[Context]:
    async with as_caller(request, writes=True) as ctx:
        yield ctx


async def _in_read_context(request: Request) -> AsyncIterator[Context]:
    async with as_caller(request, writes=False) as ctx:
        yield ctx


InContext = Annotated[Context, Depends(_in_context, scope="function")]
InReadContext = Annotated[Context, Depends(_in_read_context, scope="function")]


@asynccontextmanager
async def as_caller(request: Request, *, writes: bool) -> AsyncIterator[Context]:
    """A transaction of the account in the path, which must be that of the credentials.

    For endpoints that must be out of the transaction before they are done.
    """
    account = _account_of(request)
    credentials = credentials_of(request)
    async with foundation_of(request).as_holder_of(credentials, writes=writes) as ctx:
        if account not in (None, ctx.owner):
            raise PermissionDenied(
                "Authentication error: these credentials are for another account; "
                "`GET /accounts` names theirs."
            )
        yield ctx


def _account_of(request: Request) -> UUID | None:
    """Some paths have none."""
    account_id: str | None = request.path_params.get("account_id")
    if account_id is None:
        return None
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise NotFound("account", account_id)
    return UUID(hex=account_id)


def _bearer(request: Request) -> list[Credential]:
    header = request.headers.get("authorization")
    if header is None:
        return []
    scheme, _, secret = header.partition(" ")
    if scheme.lower() != "bearer" or not _SECRET.fullmatch(secret.strip()):
        raise InvalidRequest(
            "Invalid format for Authorization header: it is `Bearer <token>`.",
            code=MALFORMED_AUTHORIZATION,
        )
    return [Credential(secret=secret.strip())]


def _key_with_email(request: Request) -> list[Credential]:
    email, secret = request.headers.get("x-auth-email"), request.headers.get("x-auth-key")
    if email is None or secret is None:
        return []
    return [Credential(secret=_plain(secret, "X-Auth-Key"), email=email)]


def _service_key(request: Request) -> list[Credential]:
    secret = request.headers.get("x-auth-user-service-key")
    return [] if secret is None else [Credential(secret=_plain(secret, "X-Auth-User-Service-Key"))]


def _plain(secret: str, header: str) -> str:
    if not _SECRET.fullmatch(secret):
        raise InvalidRequest(f"Invalid format for {header} header.", code=MALFORMED_AUTH_KEY)
    return secret
