"""The wire: uploads in parts.

https://platform.openai.com/docs/api-reference/uploads, as of August 2026.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, Field

from tunesmith.dialects.openai.schemas import ExpiresAfter, File
from tunesmith.domain.uploads import MAX_PARTS
from tunesmith.wire.json_body import Request


class CreateUpload(Request):
    """Bytes are served as bytes, whatever they are called: so the `mime_type` must be a text."""

    IGNORED: ClassVar[frozenset[str]] = frozenset({"mime_type"})

    bytes: Annotated[int, Field(ge=0, description="of all parts together, to the byte")]
    filename: str
    mime_type: str
    purpose: str
    expires_after: ExpiresAfter | None = None


class CompleteUpload(Request):
    part_ids: Annotated[
        list[str], Field(max_length=MAX_PARTS, description="in the order of the file")
    ]
    md5: Annotated[str, Field(pattern="^[0-9A-Fa-f]{32}$")] | None = None


class Upload(BaseModel):
    id: str
    object: Literal["upload"] = "upload"
    bytes: int
    created_at: int
    expires_at: int
    filename: str
    purpose: str
    status: Literal["pending", "completed", "cancelled", "expired"]
    file: File | None = None


class UploadPart(BaseModel):
    id: str
    object: Literal["upload.part"] = "upload.part"
    created_at: int
    upload_id: str
