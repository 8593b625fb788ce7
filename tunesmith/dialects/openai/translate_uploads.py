"""Wire <-> domain: uploads in parts."""

from uuid import UUID

from tunesmith.dialects.openai import schemas_uploads as schemas
from tunesmith.dialects.openai import translate
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import File
from tunesmith.domain.uploads import Completion, NewUpload, Upload, UploadPart


def new_upload(body: schemas.CreateUpload) -> NewUpload:
    purpose = translate.upload_purpose(body.purpose)
    return NewUpload(
        filename=body.filename,
        purpose=purpose,
        size_bytes=body.bytes,
        lifetime=translate.lifetime(purpose, body.expires_after),
    )


def completion(body: schemas.CompleteUpload) -> Completion:
    return Completion(
        part_ids=tuple(map(_part_id, body.part_ids)),
        md5=None if body.md5 is None else body.md5.lower(),
    )


def upload(upload: Upload, file: File | None = None) -> schemas.Upload:
    return schemas.Upload(
        id=translate.outer_id("upload_", upload.id),
        bytes=upload.size_bytes,
        created_at=translate.seconds(upload.created_at),
        expires_at=translate.seconds(upload.expires_at),
        filename=upload.filename,
        purpose=translate.purpose_name(upload.purpose),
        status=upload.status.value,
        file=None if file is None else translate.file(file),
    )


def part(part: UploadPart) -> schemas.UploadPart:
    return schemas.UploadPart(
        id=translate.outer_id("part_", part.id),
        created_at=translate.seconds(part.created_at),
        upload_id=translate.outer_id("upload_", part.upload_id),
    )


def _part_id(outer: str) -> UUID:
    try:
        return translate.inner_id("part", outer)
    except NotFound as error:
        raise InvalidRequest(f"No such part: {outer}", param="part_ids") from error
