"""Files: bytes with a purpose, and artifacts: the named files that make up a model."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.errors import InvalidRequest


class FilePurpose(StrEnum):
    TRAINING = "training"
    RESULTS = "results"
    ASSISTANTS = "assistants"
    BATCH = "batch"
    VISION = "vision"
    USER_DATA = "user_data"
    EVALS = "evals"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """Stored bytes, named by what they are."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    id: UUID
    organization_id: UUID
    filename: str
    purpose: FilePurpose
    blob: Blob
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a checkpoint or of a tuned model. `name` is a plain name, never a path."""

    name: str
    blob: Blob

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or not set(self.name).isdisjoint("/\\\0"):
            raise InvalidRequest(f"{self.name!r} is not a plain file name.")


def safe_filename(name: str) -> str:
    """The last part of a client's path, without control characters, at most 255 characters."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(c for c in last if c.isprintable())
    return printable[:255] or "upload"
