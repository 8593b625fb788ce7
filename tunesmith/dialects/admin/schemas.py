"""The wire."""

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.domain.accounts import Scope


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class CreateKey(Strict):
    name: str = Field(min_length=1, max_length=200)
    scopes: list[Scope] = Field(min_length=1)
    expires_at: datetime | None = None
    email: str | None = Field(None, max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$")


class Key(BaseModel):
    id: UUID
    name: str
    visible_prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    email: str | None


class CreatedKey(Key):
    """`key` is shown this once."""

    key: str


class BaseModelEntry(Strict):
    name: str = Field(min_length=1, max_length=200, pattern=r"^[\w@][\w./@-]*$")
    aliases: list[str] = []
    folder: str
    source: str
    num_parameters: int = Field(gt=0)
    context_tokens: int = Field(gt=0)
    learning_rate: float = Field(gt=0)
    files: dict[str, int]
