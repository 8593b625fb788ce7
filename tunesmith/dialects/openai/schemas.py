"""The wire: files and models.

https://platform.openai.com/docs/api-reference, as of August 2026.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class ExpiresAfter(BaseModel):
    """When a file goes by itself: after an hour at the earliest, after 30 days at the latest."""

    model_config = ConfigDict(extra="forbid", strict=True)

    anchor: Literal["created_at"]
    seconds: Annotated[int, Field(ge=3600, le=2_592_000)]


class File(BaseModel):
    """A file is usable as soon as it is there, so its status is always `processed`."""

    id: str
    object: Literal["file"] = "file"
    bytes: int
    created_at: int
    filename: str
    purpose: str
    status: Literal["uploaded", "processed", "error"] = "processed"
    expires_at: int | None = None
    status_details: str | None = None


class FileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[File]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Deleted(BaseModel):
    id: str
    object: Literal["file", "model", "checkpoint.permission"]
    deleted: Literal[True] = True


class Model(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str
    shutdown_date: str | None = None


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Model]


class ModelFile(BaseModel):
    """Not in the original, which never hands out weights."""

    object: Literal["model.file"] = "model.file"
    name: str
    bytes: int
    sha256: str


class ModelFileList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelFile]
