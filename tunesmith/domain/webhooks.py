"""Webhooks: who is told how a job ended, and what became of telling them."""

import base64
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit
from uuid import UUID

from tunesmith.domain.addresses import is_public
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.jobs import JobStatus

MAX_URL_LENGTH = 2048
NOT_PUBLIC = "not one of the public internet (TUNESMITH_WEBHOOKS_ALLOW_PRIVATE lifts this)"
SECRET_PREFIX = "whsec_"
OUTCOMES = (JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.STOPPED)

_PRINTABLE = re.compile(r"[\x21-\x7e]+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9_-]*[a-z0-9])?)*\.?")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookEndpoint:
    """Where an organization wants to be told. `secret` signs, so it is kept as it is."""

    id: UUID
    organization_id: UUID
    url: str
    outcomes: frozenset[JobStatus]
    secret: str = field(repr=False)
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnded:
    """What is told; all endpoints that are told of it are told the same id."""

    id: UUID
    job_id: UUID
    outcome: JobStatus
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event for one endpoint. `available_at` is None once it was delivered or given up."""

    id: UUID
    endpoint_id: UUID
    event: JobEnded
    attempts: int = 0
    available_at: datetime | None
    delivered_at: datetime | None = None
    last_attempt_at: datetime | None = None
    last_result: str | None = None

    @property
    def status(self) -> str:
        if self.delivered_at is not None:
            return "delivered"
        return "given up" if self.available_at is None else "waiting"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """An event in the words of a dialect."""

    id: str
    body: bytes


def new_signing_secret() -> str:
    """In the form of the Standard Webhooks specification."""
    return SECRET_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def check_url(url: str, *, allow_private: bool) -> None:
    """Raises `InvalidRequest`; what a name resolves to is not checked here but at each delivery."""
    problem = _problem_of(url, allow_private=allow_private)
    if problem is not None:
        raise InvalidRequest(f"This URL cannot be a webhook's: {problem}.", param="url")


def _problem_of(url: str, *, allow_private: bool) -> str | None:
    if len(url) > MAX_URL_LENGTH:
        return f"it is longer than {MAX_URL_LENGTH} characters"
    if not _PRINTABLE.fullmatch(url):
        return "it must be ASCII without spaces (write other characters as xn--… or %…)"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return "it is malformed"
    if parts.scheme not in ("http", "https"):
        return "it must begin with https:// or http://"
    if "@" in parts.netloc:
        return "it must not hold a user name or password"
    if port == 0:
        return "port 0 is none"
    try:
        ip_address(host or "")
    except ValueError:
        is_name = _HOST.fullmatch(host or "") and "[" not in parts.netloc
        return None if is_name else "it has no valid host name"
    if not allow_private and not is_public(host or ""):
        return f"its address is {NOT_PUBLIC}"
    return None
