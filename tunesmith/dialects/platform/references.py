"""What a job names: a tuned model to begin with, and data.

That is a dataset, another API's file, or a path in the import folder.
"""

from dataclasses import dataclass
from pathlib import PurePosixPath
from uuid import UUID

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.platform import translate
from tunesmith.dialects.platform.auth import as_caller
from tunesmith.dialects.platform.errors import UNUSABLE
from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import Blob, File
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.jobs import PinnedFile
from tunesmith.domain.models import TunedModel
from tunesmith.http import foundation_of
from tunesmith.services import datasets, models
from tunesmith.services.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Located:
    """Data that is there: a file, or bytes that were just taken from a path."""

    reference: str
    blob: Blob
    file: File | None = None
    path: str = ""
    num_examples: int = 0

    def kept(self, ctx: Context) -> PinnedFile:
        """As a file, whatever it was."""
        file = self.file or datasets.imported(ctx, self.path, self.blob, self.num_examples)
        return PinnedFile(
            file_id=file.id, blob=file.blob, filename=file.filename, reference=self.reference
        )


async def locate(
    request: Request,
    reference: str,
    field: str,
    method: Method,
    beside: Located | None = None,
) -> Located:
    """Raises `InvalidRequest` (422) for what is not there, is empty or is plainly no data.

    A plain file name is looked for `beside` other data first.
    """
    blobs = foundation_of(request).house.blobs
    async with as_caller(request, Scope.JOBS_WRITE, writes=False) as ctx:
        file = await run_in_threadpool(_find_file, request, ctx, reference, beside)
    if file is not None:
        found = Located(reference=reference, blob=file.blob, file=file)
    else:
        found = await _import(request, reference, field, beside)
    await run_in_threadpool(datasets.check, blobs, found.blob, method)
    return found


def find_tuned(request: Request, ctx: Context, name: str) -> TunedModel | None:
    """The caller's tuned model of a plain name, or of another API's; None for a base model's."""
    if models.find_base(ctx, name) is not None:
        return None
    short_id = request.app.state.short_id_of(name)
    if short_id is not None:
        return models.find_tuned(ctx, short_id)
    return models.find_named(ctx, name)


def _find_file(
    request: Request, ctx: Context, reference: str, beside: Located | None
) -> File | None:
    for file_id in _ids(request, reference):
        try:
            return datasets.get(ctx, file_id)
        except NotFound:
            continue
    if beside is not None and beside.file is not None and _is_plain_name(reference):
        return datasets.find_named(ctx, reference)
    return None


def _ids(request: Request, reference: str) -> list[UUID]:
    found = (translate.find_id("ds_", reference), request.app.state.file_id_of(reference))
    return [file_id for file_id in found if file_id is not None]


async def _import(request: Request, reference: str, field: str, beside: Located | None) -> Located:
    state = request.app.state
    if "://" in reference:
        raise _unusable(field, "Addresses are not fetched; upload the file as a dataset.")
    paths = [reference]
    if beside is not None and beside.path and _is_plain_name(reference):
        paths.insert(0, str(PurePosixPath(beside.path).with_name(reference)))
    blobs = foundation_of(request).house.blobs
    for path in paths if state.import_dir is not None else ():
        try:
            blob = await run_in_threadpool(
                datasets.import_file, blobs, state.import_dir, path, state.max_upload_bytes
            )
        except InvalidRequest as error:
            raise _unusable(field, error.message) from error
        if blob is not None:
            count = await run_in_threadpool(datasets.count_examples, blobs, blob)
            return Located(reference=reference, blob=blob, path=path, num_examples=count)
    raise _unusable(field, f"There is no dataset {reference[:200]!r}.")


def _is_plain_name(reference: str) -> bool:
    return "/" not in reference and reference not in (".", "..")


def _unusable(field: str, message: str) -> InvalidRequest:
    return InvalidRequest(message, param=field, code=UNUSABLE)
