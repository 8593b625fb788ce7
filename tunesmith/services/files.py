"""Files that callers own."""

from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.datasets import parse_lines
from tunesmith.domain.errors import InvalidRequest, InvalidTrainingData
from tunesmith.domain.files import Blob, File, FilePurpose, safe_filename
from tunesmith.domain.paging import Page, PageRequest
from tunesmith.services import audit, quotas
from tunesmith.services.context import Context
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

NUM_LINES_CHECKED_AT_UPLOAD = 100


def check(blobs: Blobs, purpose: FilePurpose, blob: Blob) -> None:
    """Refuse what is plainly no file of its purpose; outside of transactions, as it reads.

    The first lines only, while the owner looks. The whole file is read by a worker when a job
    uses it.
    """
    if purpose is not FilePurpose.TRAINING:
        return
    lines = islice(parse_lines(blobs.lines(blob.sha256)), NUM_LINES_CHECKED_AT_UPLOAD)
    try:
        num_lines = sum(1 for _ in lines)
    except InvalidTrainingData as error:
        raise InvalidRequest(
            "Expected file to have JSONL format, where every line is a JSON dictionary. "
            f"Line {error.line}: {error.message}",
            param="file",
        ) from error
    if num_lines == 0:
        raise InvalidRequest(
            "The file is empty; a training file has one example a line.", param="file"
        )


def add(
    ctx: Context,
    *,
    filename: str,
    purpose: FilePurpose,
    blob: Blob,
    lifetime: timedelta | None = None,
) -> File:
    """Record a file whose bytes are stored and checked; without a lifetime it stays."""
    ctx.require(Scope.FILES_WRITE)
    quotas.admit_bytes(ctx, blob.size_bytes)
    now = ctx.now()
    file = File(
        id=uuid4(),
        organization_id=ctx.owner,
        filename=safe_filename(filename),
        purpose=purpose,
        blob=blob,
        created_at=now,
        expires_at=None if lifetime is None else now + lifetime,
    )
    ctx.store.files.add(file)
    audit.record(ctx, "file.create", file.id, after=file)
    return file


def get(ctx: Context, file_id: UUID) -> File:
    ctx.require(Scope.FILES_READ)
    return ctx.store.files.get(file_id, ctx.owner, ctx.now())


def list_(ctx: Context, request: PageRequest, purpose: FilePurpose | None) -> Page[File]:
    ctx.require(Scope.FILES_READ)
    return ctx.store.files.list_page(ctx.owner, request, ctx.now(), purpose)


def delete(ctx: Context, file_id: UUID) -> None:
    """Jobs that were made with the file keep its bytes."""
    ctx.require(Scope.FILES_WRITE)
    file = ctx.store.files.get(file_id, ctx.owner, ctx.now())
    ctx.store.files.delete(file_id, ctx.owner, ctx.now())
    audit.record(ctx, "file.delete", file_id, before=file)


def content(ctx: Context, file_id: UUID) -> tuple[File, Path]:
    """The file and where its bytes lie."""
    file = get(ctx, file_id)
    return file, ctx.house.blobs.path(file.blob.sha256)


def remove_expired(store: Store, now: datetime) -> int:
    """Of every owner; returns how many. Their bytes stay for as long as a job needs them."""
    return store.files.delete_expired(now)
