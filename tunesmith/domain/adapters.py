"""Registered adapters: LoRA adapters that somebody names first, and then brings or has made."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import Blob
from tunesmith.domain.jobs import Job
from tunesmith.domain.models import TunedModel

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
FILE_NAMES = (CONFIG_FILE, WEIGHTS_FILE)

MAX_NAME_LENGTH = 128
MAX_DESCRIPTION_LENGTH = 2000
MAX_CONFIG_BYTES = 1024 * 1024

_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterLimits:
    """What an operator allows."""

    max_per_organization: int = 100
    max_file_bytes: int = 300 * 1024 * 1024
    max_rank: int = 32
    allows_public: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFile:
    """One of `FILE_NAMES`, whose bytes do not change any more."""

    name: str
    blob: Blob
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAdapter:
    name: str
    base_model: str
    base_model_as_given: str | None = None
    description: str | None = None
    is_public: bool = False

    def __post_init__(self) -> None:
        if not 1 <= len(self.name) <= MAX_NAME_LENGTH or not self.name.strip():
            raise InvalidRequest(f"A name has 1 to {MAX_NAME_LENGTH} characters.", param="name")
        if not self.name.isprintable():
            raise InvalidRequest("The name has characters that cannot be shown.", param="name")
        if is_id(self.name):
            raise InvalidRequest("A name may not look like an id (a UUID).", param="name")
        if len(self.description or "") > MAX_DESCRIPTION_LENGTH:
            raise InvalidRequest(
                f"A description has at most {MAX_DESCRIPTION_LENGTH:,} characters.",
                param="description",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAdapter:
    """`files` are those that were brought; with a `job_id` there are none, as it makes them.

    `model_id` is the tuned model that answers, once there is one.
    `base_model` is the catalogue's name, `base_model_as_given` what it was called by, if it was.
    """

    id: UUID
    organization_id: UUID
    name: str
    description: str | None
    base_model: str
    base_model_as_given: str | None
    is_public: bool
    created_at: datetime
    modified_at: datetime
    files: tuple[AdapterFile, ...] = ()
    job_id: UUID | None = None
    model_id: UUID | None = None

    @property
    def has_pair(self) -> bool:
        return {file.name for file in self.files} == set(FILE_NAMES)

    def with_file(self, file: AdapterFile) -> "RegisteredAdapter":
        return replace(self, files=(*self.files, file), modified_at=file.created_at)

    def answered_by(self, model: TunedModel) -> "RegisteredAdapter":
        return replace(self, model_id=model.id)

    def made_by(self, job: Job) -> "RegisteredAdapter":
        return replace(self, job_id=job.id, modified_at=job.created_at)

    def begun_again(self, new: NewAdapter, now: datetime) -> "RegisteredAdapter":
        """As if it had just been made, under the id that it has."""
        return replace(
            self,
            description=new.description,
            is_public=new.is_public,
            files=(),
            job_id=None,
            modified_at=now,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterState:
    """An adapter as it is now. `model` answers, if it can; `job` makes it, or has made it."""

    adapter: RegisteredAdapter
    model: TunedModel | None
    job: Job | None = None
    metrics: Mapping[str, Any] | None = None  # of the job's newest step

    @property
    def files(self) -> tuple[AdapterFile, ...]:
        if self.adapter.files or self.model is None:
            return self.adapter.files
        return _files_of(self.model)

    def file(self, name: str) -> AdapterFile | None:
        return next((file for file in self.files if file.name == name), None)


def of_job(model: TunedModel) -> RegisteredAdapter:
    """What a job has left at its end, as if it had been registered."""
    return RegisteredAdapter(
        id=model.id,
        organization_id=model.organization_id,
        name=f"{model.suffix}-{model.short_id}" if model.suffix else model.short_id,
        description=None,
        base_model=model.base_model,
        base_model_as_given=None,
        is_public=False,
        created_at=model.created_at,
        modified_at=model.created_at,
        files=_files_of(model),
        job_id=model.job_id,
        model_id=model.id,
    )


def short_id_in(name: str) -> str:
    """What tells adapters apart that jobs have left, from the name of one."""
    return name.rpartition("-")[2]


def is_id(reference: str) -> bool:
    return _UUID.fullmatch(reference) is not None


def _files_of(model: TunedModel) -> tuple[AdapterFile, ...]:
    return tuple(
        AdapterFile(name=artifact.name, blob=artifact.blob, created_at=model.created_at)
        for artifact in model.artifacts
        if artifact.name in FILE_NAMES
    )
