"""The wire."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tunesmith.domain.accounts import Scope
from tunesmith.domain.jobs import JobStatus

Outcome = Literal[JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED]
ALL_OUTCOMES: list[Outcome] = [JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED]


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


class CreateWebhook(Strict):
    """`outcomes`: the ends of a job to be told of; all of them unless some are named."""

    url: str
    outcomes: list[Outcome] = Field(ALL_OUTCOMES, min_length=1, max_length=len(ALL_OUTCOMES))


class Delivery(BaseModel):
    """`attempted_at` and `result` are of the latest attempt, `next_attempt_at` of one to come."""

    id: UUID
    job_id: UUID
    outcome: JobStatus
    created_at: datetime
    status: str
    attempts: int
    attempted_at: datetime | None
    result: str | None
    next_attempt_at: datetime | None


class Webhook(BaseModel):
    id: UUID
    url: str
    outcomes: list[JobStatus]
    created_at: datetime
    last_delivery: Delivery | None


class CreatedWebhook(Webhook):
    """`secret` is shown this once."""

    secret: str
