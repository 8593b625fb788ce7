"""The log of who did what in an organization."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.dialects.admin import translate_accounts as translate
from tunesmith.dialects.admin.auth import InOrganization, Organization, secret_of
from tunesmith.domain.audit import AuditEntry
from tunesmith.http import foundation_of
from tunesmith.services import audit, organizations

router = APIRouter(prefix="/audit")

MAX_ENTRIES = 1000
Limit = Annotated[int, Query(ge=1, le=MAX_ENTRIES)]
After = Annotated[int, Query(ge=0, lt=2**63)]


@router.get("")
def list_entries(
    ctx: InOrganization, after: After | None = None, limit: Limit = 100
) -> list[schemas.AuditEntry]:
    """The newest first; or, behind the number `after`, the oldest first."""
    if after is None:
        found = audit.list_newest(ctx, limit)
    else:
        found = audit.list_(ctx, after=after, limit=limit)
    return [translate.audit_entry(entry) for entry in found]


@router.get("/export", response_class=StreamingResponse)
async def export_entries(
    request: Request, organization: Organization = None, after: After = 0
) -> StreamingResponse:
    """All of them as JSONL, oldest first."""
    first = await _read(request, organization, after)  # who may not is told so by the status

    async def lines() -> AsyncIterator[str]:
        entries = first
        while entries:
            yield "".join(f"{translate.audit_entry(e).model_dump_json()}\n" for e in entries)
            entries = await _read(request, organization, entries[-1].number)

    return StreamingResponse(lines(), media_type="application/jsonl")


@router.get("/verify")
def verify_entries(ctx: InOrganization) -> schemas.AuditVerdict:
    """Whether all that are kept are as they were written; note the head, to compare with later."""
    return translate.audit_verdict(audit.check(ctx))


async def _read(request: Request, organization: str | None, after: int) -> tuple[AuditEntry, ...]:
    foundation = foundation_of(request)
    async with foundation.as_caller(secret_of(request), writes=False) as ctx:
        there = await run_in_threadpool(organizations.acting_for, ctx, organization)
        return await run_in_threadpool(audit.list_, there, after=after, limit=MAX_ENTRIES)
