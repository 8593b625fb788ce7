"""Organizations, their users, and the keys by which programs speak for them."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

KEY_PREFIX = "ts_"


class Scope(StrEnum):
    """What a key may do. `WORKER` is for machines that train, and reads every organization's files.

    `EVERYTHING` includes what users do. `ADMIN` includes that, and the organization's own keys,
    users and webhooks; `OPERATOR` includes all, in every organization and of the installation.
    """

    JOBS_READ = "fine-tuning:read"
    JOBS_WRITE = "fine-tuning:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    INFERENCE = "inference"
    WORKER = "worker"
    ADMIN = "admin"
    OPERATOR = "operator"
    ALL_JOBS = "fine-tuning:*"
    EVERYTHING = "*"


_WILDCARDS = frozenset({Scope.ALL_JOBS, Scope.EVERYTHING})
_INSTALLATION = frozenset({Scope.WORKER, Scope.OPERATOR})
USER_SCOPES = frozenset(Scope) - {Scope.ADMIN} - _INSTALLATION - _WILDCARDS
_INCLUDED = {
    Scope.ALL_JOBS: frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE}),
    Scope.EVERYTHING: USER_SCOPES,
    Scope.ADMIN: frozenset(Scope) - _INSTALLATION,
    Scope.OPERATOR: frozenset(Scope),
}


class Role(StrEnum):
    """What a user's keys may do at most, whatever their scopes."""

    OWNER = "owner"
    MEMBER = "member"
    READER = "reader"

    @property
    def scopes(self) -> frozenset[Scope]:
        return _OF_ROLE[self]


_OF_ROLE = {
    Role.OWNER: frozenset(Scope),
    Role.MEMBER: USER_SCOPES | _WILDCARDS,
    Role.READER: frozenset({Scope.JOBS_READ, Scope.FILES_READ}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant. `slug` is its name inside the names of tuned models.

    While it is suspended, its keys open nothing; its jobs and files stay as they are.
    """

    id: UUID
    name: str
    slug: str
    created_at: datetime
    suspended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    id: UUID
    organization_id: UUID
    email: str
    name: str
    role: Role
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key; of its secret only the SHA-256 is kept. Without a user it is a service's own."""

    id: UUID
    organization_id: UUID
    name: str
    visible_prefix: str
    digest: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    email: str | None = None  # its owner's, for clients that name one beside the key
    user_id: UUID | None = None
    role: Role | None = None  # its user's
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  # to the minute

    def allows(self, scope: Scope) -> bool:
        if self.role is not None and scope not in self.role.scopes:
            return False
        return any(scope in included_in(own) for own in self.scopes)

    def is_alive(self, now: datetime) -> bool:
        has_time_left = self.expires_at is None or self.expires_at > now
        has_user = self.user_id is None or self.role is not None
        return has_time_left and has_user and self.revoked_at is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret as it was sent; with an e-mail it is good for the key of that owner alone."""

    secret: str
    email: str | None = None


def included_in(scope: Scope) -> frozenset[Scope]:
    """What a key of this scope may do."""
    return _INCLUDED.get(scope, frozenset({scope}))


def new_secret() -> str:
    """256 random bits behind a recognisable prefix."""
    return KEY_PREFIX + secrets.token_urlsafe(32)


def digest_of(secret: str) -> str:
    """SHA-256 suffices: secrets are random, and a slow hash would be our own DoS."""
    return hashlib.sha256(secret.encode()).hexdigest()


def is_same_email(one: str, other: str) -> bool:
    """Whatever the case of the letters; takes as long for each mistake."""
    return hmac.compare_digest(*(email.strip().casefold().encode() for email in (one, other)))


def visible_prefix_of(secret: str) -> str:
    """Enough to recognise a key in a list, and nothing of a short one that an operator chose."""
    return secret[:8] if len(secret) >= 24 else secret[:2]
