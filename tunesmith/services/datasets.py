"""Training data by name: datasets that callers keep here, and files that the operator put in."""

import os
import stat
from itertools import islice
from pathlib import Path, PurePosixPath
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.datasets import check_training_lines, parse_lines
from tunesmith.domain.errors import Conflict, InvalidRequest, InvalidTrainingData, NotFound
from tunesmith.domain.files import Blob, File, FilePurpose, safe_filename
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.paging import Slice
from tunesmith.services import audit, quotas
from tunesmith.services.context import Context
from tunesmith.store.blobs import CHUNK_BYTES, Blobs

NUM_LINES_CHECKED = 100
MAX_PATH_LENGTH = 4096


def add(
    ctx: Context, *, filename: str, blob: Blob, num_examples: int, title: str | None = None
) -> File:
    """Record a dataset whose bytes are stored and checked."""
    ctx.require(Scope.JOBS_WRITE)
    quotas.admit_bytes(ctx, blob.size_bytes)
    file = File(
        id=uuid4(),
        organization_id=ctx.owner,
        filename=safe_filename(filename),
        purpose=FilePurpose.TRAINING,
        blob=blob,
        created_at=ctx.now(),
        title=title,
        num_examples=num_examples,
    )
    ctx.store.files.add(file)
    audit.record(ctx, "file.create", file.id, after=file)
    return file


def list_(ctx: Context, *, offset: int, limit: int) -> Slice[File]:
    """Newest first: all training files, wherever they came in."""
    ctx.require(Scope.JOBS_READ)
    return ctx.store.files.list_slice(
        ctx.owner, ctx.now(), FilePurpose.TRAINING, offset=offset, limit=limit
    )


def get(ctx: Context, file_id: UUID) -> File:
    """Raises `NotFound` for files that are no training data, too."""
    ctx.require(Scope.JOBS_READ, Scope.JOBS_WRITE)
    file = ctx.store.files.get(file_id, ctx.owner, ctx.now())
    if file.purpose is not FilePurpose.TRAINING:
        raise NotFound("file", str(file_id))
    return file


def find_named(ctx: Context, filename: str) -> File | None:
    """The newest dataset of that file name."""
    return ctx.store.files.find_by_name(filename, ctx.owner, ctx.now())


def delete(ctx: Context, file_id: UUID) -> None:
    """Raises `Conflict` while a job that has not ended needs it."""
    ctx.require(Scope.JOBS_WRITE)
    file = get(ctx, file_id)
    if ctx.store.jobs.is_file_needed(file.id):
        raise Conflict("A job that has not ended needs this dataset; stop or delete the job first.")
    ctx.store.files.delete(file.id, ctx.owner, ctx.now())
    audit.record(ctx, "file.delete", file.id, before=file)


def imported(ctx: Context, path: str, blob: Blob, num_examples: int) -> File:
    """The dataset that a file of the import folder is: the one there is, unless it has changed."""
    name = PurePosixPath(path).name
    known = find_named(ctx, name)
    if known is not None and known.blob == blob:
        return known
    return add(ctx, filename=name, blob=blob, num_examples=num_examples)


def import_file(blobs: Blobs, folder: Path, path: str, max_bytes: int) -> Blob | None:
    """The bytes of a plain file below the operator's folder; None where there is none.

    Raises `InvalidRequest` for paths that could lead out of it. No link is followed: each part of
    the path is opened in the folder before it, so nothing can be put in its place meanwhile.
    """
    parts = _parts(path)
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=opened)
            os.close(opened)
            opened = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(parts[-1], flags, dir_fd=opened)
    except OSError:
        return None
    finally:
        os.close(opened)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as file, blobs.writer(max_bytes) as writer:
        while chunk := file.read(CHUNK_BYTES):
            writer.write(chunk)
        return writer.commit()


def check(blobs: Blobs, blob: Blob, method: Method) -> None:
    """Read the first lines; raises `InvalidTrainingData`. Outside of transactions, as it reads."""
    lines = islice(blobs.lines(blob.sha256), NUM_LINES_CHECKED)
    if check_training_lines(lines, method).num_examples == 0:
        raise InvalidTrainingData("The file holds no examples.")


def count_examples(blobs: Blobs, blob: Blob) -> int:
    """Lines that are not blank."""
    return sum(1 for line in blobs.lines(blob.sha256) if line.strip())


def check_upload(blobs: Blobs, blob: Blob) -> int:
    """How many examples it has; raises `InvalidRequest` for what is plainly no training file."""
    try:
        for _ in islice(parse_lines(blobs.lines(blob.sha256)), NUM_LINES_CHECKED):
            pass
    except InvalidTrainingData as error:
        raise InvalidRequest(f"Line {error.line}: {error.message}", param="file") from error
    num_examples = count_examples(blobs, blob)
    if num_examples == 0:
        raise InvalidRequest("The file is empty; a dataset has one example a line.", param="file")
    return num_examples


def _parts(path: str) -> tuple[str, ...]:
    if len(path) > MAX_PATH_LENGTH or "\0" in path or "\\" in path:
        raise InvalidRequest("This is no path of a file in the import folder.")
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts):
        raise InvalidRequest(
            "Paths start in the import folder and stay in it: no leading `/`, no `.` or `..`."
        )
    return tuple(parts)
