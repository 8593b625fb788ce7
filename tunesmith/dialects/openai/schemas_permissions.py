"""The wire: permissions on checkpoints."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field

from tunesmith.wire.json_body import Request

MAX_PROJECTS = 100

ProjectId = Annotated[str, Field(pattern=r"^[\w.-]{1,128}$")]


class CreatePermissions(Request):
    project_ids: list[ProjectId] = Field(
        min_length=1, max_length=MAX_PROJECTS, description="slugs of organizations on this server"
    )


class Permission(BaseModel):
    id: str
    object: Literal["checkpoint.permission"] = "checkpoint.permission"
    created_at: int
    project_id: str


class PermissionList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Permission]
    first_id: str | None
    last_id: str | None
    has_more: bool
