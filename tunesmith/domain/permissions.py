"""Permissions: who else may ask a tuned model."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPermission:
    """`project` is as whoever gave it wrote it; `organization_id` is whose name that was, if any's.

    A name that was nobody's when the permission was given grants nothing, even if somebody takes
    it later.
    """

    id: UUID
    model_id: UUID
    project: str
    organization_id: UUID | None
    created_at: datetime
