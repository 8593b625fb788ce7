"""Files that come in parts."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import Blob, File, safe_filename
from tunesmith.domain.uploads import (
    MAX_PARTS,
    TIME_TO_COMPLETE,
    Completion,
    NewUpload,
    Upload,
    UploadPart,
    UploadStatus,
)
from tunesmith.services import audit, files, quotas
from tunesmith.services.context import Context
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

TIME_TO_REMEMBER = timedelta(days=1)  # so that a completion can be asked for again


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedUpload:
    """`file` is None once the file is gone again."""

    upload: Upload
    file: File | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assembly:
    """Parts that are the whole of a pending upload, in their order."""

    upload: Upload
    completion: Completion
    parts: tuple[UploadPart, ...]


def create(ctx: Context, new: NewUpload) -> Upload:
    ctx.require(Scope.FILES_WRITE)
    quotas.admit_bytes(ctx, new.size_bytes)
    upload = Upload(
        id=uuid4(),
        organization_id=ctx.owner,
        filename=safe_filename(new.filename),
        purpose=new.purpose,
        size_bytes=new.size_bytes,
        lifetime=new.lifetime,
        created_at=ctx.now(),
    )
    ctx.store.uploads.add(upload)
    audit.record(ctx, "upload.create", upload.id, after=upload)
    return upload


def get_pending(ctx: Context, upload_id: UUID) -> Upload:
    """Raises `InvalidRequest` for an upload that is final."""
    upload = _get(ctx, upload_id)
    if upload.status is not UploadStatus.PENDING:
        raise _final(upload)
    return upload


def add_part(ctx: Context, upload_id: UUID, blob: Blob) -> UploadPart:
    """Record a part whose bytes are stored."""
    upload = get_pending(ctx, upload_id)
    num_parts, size_bytes = ctx.store.uploads.size_of_parts(upload.id)
    if num_parts >= MAX_PARTS:
        raise InvalidRequest(f"An upload has at most {MAX_PARTS:,} parts.", param="data")
    if size_bytes + blob.size_bytes > upload.max_stored_bytes:
        raise InvalidRequest(
            "The parts are far larger together than the upload was said to be.", param="data"
        )
    quotas.admit_bytes(ctx, blob.size_bytes)
    part = UploadPart(id=uuid4(), upload_id=upload.id, blob=blob, created_at=ctx.now())
    ctx.store.uploads.add_part(part)
    audit.record(ctx, "upload.add_part", upload.id, after=part)
    return part


def begin_completion(
    ctx: Context, upload_id: UUID, completion: Completion
) -> CompletedUpload | Assembly:
    """What is to be put together; or what was, if the same has been asked for before."""
    upload = _get(ctx, upload_id)
    if upload.status is not UploadStatus.PENDING:
        return _again(ctx, upload, completion)
    parts = _in_order(completion, ctx.store.uploads.list_parts(upload.id))
    size_bytes = sum(part.blob.size_bytes for part in parts)
    if size_bytes != upload.size_bytes:
        raise InvalidRequest(
            f"The parts have {size_bytes:,} bytes together; "
            f"the upload was created for {upload.size_bytes:,}.",
            param="part_ids",
        )
    return Assembly(upload=upload, completion=completion, parts=parts)


def assemble(blobs: Blobs, assembly: Assembly) -> Blob:
    """The parts' bytes one after another; outside of transactions, as it may take a minute."""
    expected = assembly.completion.md5
    digest = hashlib.md5(usedforsecurity=False)
    with blobs.writer() as writer:
        for part in assembly.parts:
            for chunk in blobs.chunks(part.blob.sha256):
                writer.write(chunk)
                if expected is not None:
                    digest.update(chunk)
        if expected not in (None, digest.hexdigest()):
            raise InvalidRequest(
                f"The MD5 of the parts together is {digest.hexdigest()}.", param="md5"
            )
        blob = writer.commit()
    files.check(blobs, assembly.upload.purpose, blob)
    return blob


def complete(ctx: Context, assembly: Assembly, blob: Blob) -> CompletedUpload:
    """Make a file of the bytes that were put together, unless that was done meanwhile.

    An upload whose time ran out meanwhile is completed all the same.
    """
    ctx.require(Scope.FILES_WRITE)
    upload = ctx.store.uploads.get_to_complete(assembly.upload.id, ctx.owner)
    if upload.status is not UploadStatus.PENDING:
        return _again(ctx, upload, assembly.completion)
    ctx.store.uploads.delete_parts(upload.id)  # their bytes are the file's from here on
    file = files.add(
        ctx,
        filename=upload.filename,
        purpose=upload.purpose,
        blob=blob,
        lifetime=upload.lifetime,
    )
    completed = upload.completed(assembly.completion, file.id)
    _settle(ctx, completed)
    audit.record(ctx, "upload.complete", upload.id, before=upload, after=completed)
    return CompletedUpload(upload=completed, file=file)


def cancel(ctx: Context, upload_id: UUID) -> Upload:
    """Raises `InvalidRequest` for an upload that is final already."""
    upload = get_pending(ctx, upload_id)
    cancelled = upload.cancelled()
    _settle(ctx, cancelled)
    audit.record(ctx, "upload.cancel", upload.id, before=upload, after=cancelled)
    return cancelled


def remove_expired(store: Store, now: datetime) -> int:
    """Forget parts whose time is up, and uploads that nobody asks about; returns how many parts."""
    store.uploads.delete_old(now - TIME_TO_REMEMBER)
    return store.uploads.delete_parts_of_old(now - TIME_TO_COMPLETE)


def _get(ctx: Context, upload_id: UUID) -> Upload:
    ctx.require(Scope.FILES_WRITE)
    return ctx.store.uploads.get(upload_id, ctx.owner).as_of(ctx.now())


def _in_order(completion: Completion, parts: tuple[UploadPart, ...]) -> tuple[UploadPart, ...]:
    known = {part.id: part for part in parts}
    if len(set(completion.part_ids)) < len(completion.part_ids):
        raise InvalidRequest("Name each part once.", param="part_ids")
    for place, part_id in enumerate(completion.part_ids, 1):
        if part_id not in known:
            raise InvalidRequest(f"Part {place} is not one of this upload.", param="part_ids")
    return tuple(known[part_id] for part_id in completion.part_ids)


def _settle(ctx: Context, upload: Upload) -> None:
    if not ctx.store.uploads.settle(upload):  # another server was first
        raise _final(ctx.store.uploads.get(upload.id, ctx.owner))


def _again(ctx: Context, upload: Upload, completion: Completion) -> CompletedUpload:
    if upload.completion != completion or upload.file_id is None:
        raise _final(upload)
    file = ctx.store.files.find(upload.file_id, ctx.owner, ctx.now())
    return CompletedUpload(upload=upload, file=file)


def _final(upload: Upload) -> InvalidRequest:
    return InvalidRequest(f"The upload is {upload.status.value}; it cannot be changed any more.")
