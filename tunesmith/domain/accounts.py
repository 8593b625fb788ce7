"""Organizations and the keys by which programs speak for them."""

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

KEY_PREFIX = "ts_"


class Scope(StrEnum):
    """What a key may do. `ADMIN` includes all the others, `WORKER` is for machines that train.

    `EVERYTHING` includes what users do, and nothing of `ADMIN` or `WORKER`.
    """

    JOBS_READ = "fine-tuning:read"
    JOBS_WRITE = "fine-tuning:write"
    FILES_READ = "files:read"
    FILES_WRITE = "files:write"
    INFERENCE = "inference"
    WORKER = "worker"
    ADMIN = "admin"
    ALL_JOBS = "fine-tuning:*"
    EVERYTHING = "*"


_WILDCARDS = frozenset({Scope.ALL_JOBS, Scope.EVERYTHING})
USER_SCOPES = frozenset(Scope) - {Scope.WORKER, Scope.ADMIN} - _WILDCARDS
_INCLUDED = {
    Scope.ALL_JOBS: frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE}),
    Scope.EVERYTHING: USER_SCOPES,
    Scope.ADMIN: frozenset(Scope),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Organization:
    """A tenant. `slug` is its name inside the names of tuned models."""

    id: UUID
    name: str
    slug: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """An API key; of its secret only the SHA-256 is kept."""

    id: UUID
    organization_id: UUID
    name: str
    visible_prefix: str
    digest: str
    scopes: frozenset[Scope]
    created_at: datetime
    expires_at: datetime | None
    email: str | None = None  # its owner's, for clients that name one beside the key

    def allows(self, scope: Scope) -> bool:
        return any(scope in _INCLUDED.get(own, {own}) for own in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A secret as it was sent; with an e-mail it is good for the key of that owner alone."""

    secret: str
    email: str | None = None


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
