"""Wire <-> domain: organizations, users, keys and the audit log."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from pydantic import BaseModel

from tunesmith.dialects.admin import schemas_accounts as schemas
from tunesmith.domain.accounts import Key, Organization, User
from tunesmith.domain.audit import AuditEntry, Verdict
from tunesmith.domain.quotas import Quota, Use
from tunesmith.services.accounts import NewKey


def organization(organization: Organization) -> schemas.Organization:
    return schemas.Organization(**asdict(organization))


def organization_changes(body: schemas.UpdateOrganization, now: datetime) -> dict[str, Any]:
    changes = given(body)
    if "suspended" in changes:
        changes["suspended_at"] = now if changes.pop("suspended") else None
    return changes


def quota(quota: Quota, use: Use) -> schemas.Quota:
    return schemas.Quota(**asdict(quota), use=schemas.QuotaUse(**asdict(use)))


def quota_changes(body: schemas.UpdateQuota) -> dict[str, Any]:
    """Nulls, too: they take a limit away."""
    return body.model_dump(exclude_unset=True)


def user(user: User) -> schemas.User:
    return schemas.User(
        id=user.id, email=user.email, name=user.name, role=user.role, created_at=user.created_at
    )


def key(key: Key) -> schemas.Key:
    return schemas.Key(**_key_fields(key))


def created_key(new: NewKey) -> schemas.CreatedKey:
    return schemas.CreatedKey(**_key_fields(new.key), key=new.secret)


def key_changes(body: schemas.UpdateKey) -> dict[str, Any]:
    changes = given(body)
    if "scopes" in changes:
        changes["scopes"] = frozenset(changes["scopes"])
    if "expires_at" in body.model_fields_set:
        changes["expires_at"] = body.expires_at
    return changes


def audit_entry(entry: AuditEntry) -> schemas.AuditEntry:
    fields = asdict(entry)
    del fields["organization_id"]
    return schemas.AuditEntry(**fields)


def audit_verdict(verdict: Verdict) -> schemas.AuditVerdict:
    return schemas.AuditVerdict(**asdict(verdict), ok=verdict.broken_at is None)


def given(body: BaseModel) -> dict[str, Any]:
    """The fields of a change that were sent, but for nulls."""
    return body.model_dump(exclude_unset=True, exclude_none=True)


def _key_fields(key: Key) -> dict[str, Any]:
    fields = asdict(key)
    del fields["organization_id"], fields["digest"]
    return fields | {"scopes": sorted(key.scopes)}
