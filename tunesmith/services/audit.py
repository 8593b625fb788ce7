"""Who did what: written down with the change itself, and read by whoever administers."""

import hashlib
from typing import Any

from pydantic import TypeAdapter

from tunesmith.domain.accounts import Scope
from tunesmith.domain.audit import MAX_OBJECT_LENGTH, AuditEntry, Outcome, Verdict, verify
from tunesmith.services.context import Context

_adapters: dict[type, TypeAdapter[Any]] = {}  # of the domain's kinds; made when first needed


def record(
    ctx: Context, action: str, object_id: object, *, before: Any = None, after: Any = None
) -> None:
    """In the same transaction as the change.

    `action` is a kind and a verb, such as `job.stop`; `before` and `after` are the domain's
    objects, of which a hash is kept alone.
    """
    kind = action.partition(".")[0]
    ctx.store.audit.append(
        AuditEntry(
            organization_id=ctx.owner,
            created_at=ctx.now(),
            outcome=Outcome.DONE,
            action=action,
            object=f"{kind} {object_id}"[:MAX_OBJECT_LENGTH],
            before=hash_of(before),
            after=hash_of(after),
            key_id=ctx.key.id,
            user_id=ctx.key.user_id,
            request_id=ctx.origin.request_id,
            ip=ctx.origin.ip,
        )
    )


def list_(ctx: Context, *, after: int, limit: int) -> tuple[AuditEntry, ...]:
    """Oldest first."""
    ctx.require(Scope.ADMIN)
    return ctx.store.audit.list_(ctx.owner, after=after, limit=limit)


def list_newest(ctx: Context, limit: int) -> tuple[AuditEntry, ...]:
    ctx.require(Scope.ADMIN)
    return ctx.store.audit.list_newest(ctx.owner, limit)


def check(ctx: Context) -> Verdict:
    """Whether all entries are as they were written."""
    ctx.require(Scope.ADMIN)
    return verify(ctx.store.audit.all_of(ctx.owner))


def hash_of(thing: Any) -> str | None:
    if thing is None:
        return None
    kind = type(thing)
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return hashlib.sha256(_adapters[kind].dump_json(thing)).hexdigest()
