"""The wire: organizations, users, keys and the audit log."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field

from tunesmith.dialects.admin.schemas import Strict
from tunesmith.domain.accounts import Role, Scope
from tunesmith.domain.audit import Outcome
from tunesmith.domain.quotas import DEFAULT_PRIORITY, MAX_PRIORITY, MAX_WEIGHT, MIN_PRIORITY
from tunesmith.wire.json_body import is_text


def _plain(text: str) -> str:
    if not is_text(text):
        raise ValueError("has a NUL or half a character in it")
    return text


Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Email = Annotated[
    str, Field(max_length=320, pattern=r"^[^@\s\x00]+@[^@\s\x00]+$"), AfterValidator(_plain)
]
Slug = Annotated[str, Field(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$")]


class CreateOrganization(Strict):
    """`slug` is part of the names of its models, and stays."""

    name: Name
    slug: Slug


class UpdateOrganization(Strict):
    name: Name | None = None
    suspended: bool | None = None


class Organization(Strict):
    id: UUID
    name: str
    slug: str
    created_at: datetime
    suspended_at: datetime | None


JobCount = Annotated[int, Field(ge=0, lt=2**31)]
Amount = Annotated[int, Field(ge=0, lt=2**63)]


class UpdateQuota(Strict):
    """What is not sent stays; a limit of null is none. Tokens are those that are trained."""

    weight: float = Field(1.0, gt=0, le=MAX_WEIGHT)
    default_priority: int = Field(DEFAULT_PRIORITY, ge=MIN_PRIORITY, le=MAX_PRIORITY)
    max_running_jobs: JobCount | None = None
    max_queued_jobs: JobCount | None = None
    max_stored_bytes: Amount | None = None
    max_tokens_per_day: Amount | None = None


class QuotaUse(Strict):
    running_jobs: int
    queued_jobs: int
    stored_bytes: int
    tokens_today: int


class Quota(UpdateQuota):
    """`use` is what there is now of what each limit is for; a day is one of UTC."""

    use: QuotaUse


class CreateUser(Strict):
    email: Email
    name: Name
    role: Role = Role.MEMBER


class UpdateUser(Strict):
    name: Name | None = None
    role: Role | None = None


class User(Strict):
    id: UUID
    email: str
    name: str
    role: Role
    created_at: datetime


class CreateKey(Strict):
    """`user` is the id or e-mail of whom it is for; without one it is a service's own.

    `email` is that of a service's owner, for clients that name one beside the key.
    """

    name: Name
    scopes: list[Scope] = Field(min_length=1, max_length=len(Scope))
    expires_at: AwareDatetime | None = None
    email: Email | None = None
    user: Annotated[str, Field(max_length=320), AfterValidator(_plain)] | None = None


class UpdateKey(Strict):
    """What is not sent stays; an `expires_at` of null takes the end away."""

    name: Name | None = None
    scopes: list[Scope] | None = Field(None, min_length=1, max_length=len(Scope))
    expires_at: AwareDatetime | None = None


class RotateKey(Strict):
    """`overlap_seconds`: how long the old secret still opens; a week at most."""

    overlap_seconds: int = Field(0, ge=0, le=7 * 24 * 3600)


class Key(Strict):
    """`last_used_at` is written down once a minute."""

    id: UUID
    name: str
    visible_prefix: str
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime | None
    email: str | None
    user_id: UUID | None
    role: Role | None
    revoked_at: datetime | None
    last_used_at: datetime | None


class CreatedKey(Key):
    """`key` is shown this once."""

    key: str


class AuditEntry(Strict):
    """`before` and `after` are SHA-256 of what the object was and became.

    `digest` is over all else, and over the digest of the entry before it (`previous`).
    """

    number: int
    created_at: datetime
    outcome: Outcome
    action: str
    object: str
    before: str | None
    after: str | None
    key_id: UUID | None
    user_id: UUID | None
    request_id: str | None
    ip: str | None
    times: int
    previous: str
    digest: str


class AuditVerdict(Strict):
    """`broken_at` is the number of the first entry that was changed, or follows none."""

    ok: bool
    num_entries: int
    first: int | None
    head: str
    broken_at: int | None
