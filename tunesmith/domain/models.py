"""Tuned models: what finished jobs and their checkpoints leave behind."""

import secrets
import string
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from tunesmith.domain.files import Artifact

SHORT_ID_LENGTH = 8
WHOLE_MODEL_FILE = "config.json"  # which an adapter has not
_ALPHANUMERIC = string.ascii_letters + string.digits


@dataclass(frozen=True, slots=True, kw_only=True)
class TunedModel:
    """A PEFT adapter on a base model, or a whole model that was made from one.

    `step` is its checkpoint's, None for a job's final model.

    One that was brought here instead of trained has no job, and the id of its registration.

    `short_id` is unique in the installation and short enough to be part of a name.
    """

    id: UUID
    short_id: str
    organization_id: UUID
    organization_slug: str
    job_id: UUID | None  # None where it was brought here, or its job has been deleted
    base_model: str
    suffix: str | None
    step: int | None
    artifacts: tuple[Artifact, ...]
    created_at: datetime

    @property
    def is_whole(self) -> bool:
        """All weights were trained: it answers without its base model."""
        return any(artifact.name == WHOLE_MODEL_FILE for artifact in self.artifacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model's name in its organization; it answers from `deployed_at` on."""

    model_id: UUID
    organization_id: UUID
    name: str
    deployed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployedModel:
    """A model and its name; it answers only if the deployment says since when."""

    model: TunedModel
    deployment: Deployment


def new_short_id() -> str:
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(SHORT_ID_LENGTH))
