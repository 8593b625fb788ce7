"""A job's figures elsewhere: how far each integration has been told of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from tunesmith.domain.jobs import Integration, Job


@dataclass(frozen=True, slots=True, kw_only=True)
class IntegrationRun:
    """`available_at` is None once all has been told, or it has been given up."""

    job_id: UUID
    position: int  # in the job's list of integrations
    available_at: datetime | None
    logged_step: int = 0
    attempts: int = 0  # tells claims apart
    misses: int = 0  # in a row
    failing_since: datetime | None = None
    is_warned: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The figures of some steps, in order; with the last of a job that has ended, `is_last`."""

    run: IntegrationRun
    job: Job
    integration: Integration
    metrics: list[dict[str, Any]]
    is_last: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLabel:
    """What a job is called elsewhere, in the words of a dialect."""

    id: str
    name: str
    tags: tuple[str, ...]
