"""Files that callers own."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.datasets import parse_lines
from tunesmith.domain.errors import InvalidRequest, InvalidTrainingData
from tunesmith.domain.files import Blob, File, FilePurpose, safe_filename
from tunesmith.domain.paging import Page, PageRequest
from tunesmith.services.context import Context

NUM_LINES_CHECKED_AT_UPLOAD = 100


def add(ctx: Context, *, filename: str, purpose: FilePurpose, blob: Blob) -> File:
    """Record an upload whose bytes are stored."""
    ctx.require(Scope.FILES_WRITE)
    if purpose is FilePurpose.TRAINING:
        _check_json_lines(ctx.house.blobs.lines(blob.sha256))
    file = File(
        id=uuid4(),
        organization_id=ctx.owner,
        filename=safe_filename(filename),
        purpose=purpose,
        blob=blob,
        created_at=ctx.now(),
    )
    ctx.store.files.add(file)
    return file


def get(ctx: Context, file_id: UUID) -> File:
    ctx.require(Scope.FILES_READ)
    return ctx.store.files.get(file_id, ctx.owner)


def list_(ctx: Context, request: PageRequest, purpose: FilePurpose | None) -> Page[File]:
    ctx.require(Scope.FILES_READ)
    return ctx.store.files.list_page(ctx.owner, request, purpose)


def delete(ctx: Context, file_id: UUID) -> None:
    """Jobs that were made with the file keep its bytes."""
    ctx.require(Scope.FILES_WRITE)
    ctx.store.files.delete(file_id, ctx.owner)


def content(ctx: Context, file_id: UUID) -> tuple[File, Path]:
    """The file and where its bytes lie."""
    file = get(ctx, file_id)
    return file, ctx.house.blobs.path(file.blob.sha256)


def _check_json_lines(lines: Iterable[bytes]) -> None:
    """The first lines only: what was plainly the wrong file is refused while its owner looks.

    The whole file is read by a worker when a job uses it.
    """
    try:
        num_lines = sum(1 for _ in islice(parse_lines(lines), NUM_LINES_CHECKED_AT_UPLOAD))
    except InvalidTrainingData as error:
        raise InvalidRequest(
            "Expected file to have JSONL format, where every line is a JSON dictionary. "
            f"Line {error.line}: {error.message}",
            param="file",
        ) from error
    if num_lines == 0:
        raise InvalidRequest("The file is empty; a training file has one example a line.")
