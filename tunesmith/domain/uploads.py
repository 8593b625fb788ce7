"""Uploads: files that come in parts, to be put together when all are there."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.files import Blob, FilePurpose

MAX_PART_BYTES = 64 * 1024 * 1024
MAX_PARTS = 10_000
TIME_TO_COMPLETE = timedelta(hours=1)


class UploadStatus(StrEnum):
    PENDING = "pending"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewUpload:
    """What is announced; `lifetime` is that of the file that it becomes, None if it stays."""

    filename: str
    purpose: FilePurpose
    size_bytes: int
    lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadPart:
    id: UUID
    upload_id: UUID
    blob: Blob
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """What a client says the whole is: its parts in order and, maybe, the MD5 in hex."""

    part_ids: tuple[UUID, ...]
    md5: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    id: UUID
    organization_id: UUID
    filename: str
    purpose: FilePurpose
    size_bytes: int
    lifetime: timedelta | None
    created_at: datetime
    status: UploadStatus = UploadStatus.PENDING
    completion: Completion | None = None
    file_id: UUID | None = None

    @property
    def expires_at(self) -> datetime:
        return self.created_at + TIME_TO_COMPLETE

    @property
    def max_stored_bytes(self) -> int:
        """Of all its parts, some of which may have been sent twice."""
        return 2 * self.size_bytes + MAX_PART_BYTES

    def as_of(self, now: datetime) -> "Upload":
        """No row says that time is up: the clock does."""
        if self.status is UploadStatus.PENDING and now >= self.expires_at:
            return replace(self, status=UploadStatus.EXPIRED)
        return self

    def completed(self, completion: Completion, file_id: UUID) -> "Upload":
        return replace(self, status=UploadStatus.COMPLETED, completion=completion, file_id=file_id)

    def cancelled(self) -> "Upload":
        return replace(self, status=UploadStatus.CANCELLED)
