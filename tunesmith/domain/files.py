"""Files: bytes with a purpose, and artifacts: the named files that make up a model."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from tunesmith.domain.errors import InvalidRequest

MAX_FILENAME_LENGTH = 4096  # of the whole path that a client may send


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
    expires_at: datetime | None = None
    title: str | None = None  # what its owner calls it
    num_examples: int | None = None  # None where nobody has counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One file of a checkpoint or of a tuned model. `name` is a plain name, never a path."""

    name: str
    blob: Blob

    def __post_init__(self) -> None:
        if self.name in ("", ".", "..") or not set(self.name).isdisjoint("/\\\0"):
            raise InvalidRequest(f"{self.name!r} is not a plain file name.")


def safe_filename(name: str) -> str:
    """The last part of a client's path, without control characters, at most 255 characters.

    Raises `InvalidRequest` for what can only be a mistake or an attack.
    """
    if len(name) > MAX_FILENAME_LENGTH:
        raise InvalidRequest(
            f"A filename has at most {MAX_FILENAME_LENGTH:,} characters.", param="filename"
        )
    if not is_text(name):
        raise InvalidRequest(
            "The filename has characters that no text has: NUL or half of a pair.",
            param="filename",
        )
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    printable = "".join(c for c in last if c.isprintable())
    return printable[:255] or "upload"


def is_text(value: str) -> bool:
    """Whether databases and UTF-8 can hold it: no NUL, no lone surrogate."""
    return not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in value)
