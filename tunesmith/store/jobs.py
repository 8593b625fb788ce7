"""Jobs and their checkpoints. A change is written only where the status is the expected one."""

from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.jobs import (
    Checkpoint,
    Failure,
    Integration,
    Job,
    JobFilter,
    JobSearch,
    JobStatus,
    MaskCertificate,
    PinnedFile,
    Progress,
)
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import Page, PageRequest, Slice
from tunesmith.store.derived import job_metadata
from tunesmith.store.job_search import JobLists, count_by_status
from tunesmith.store.rows import Row, is_only, plain, select_page
from tunesmith.store.tables import checkpoints, has_no_metadata, jobs

_HYPERPARAMETERS = TypeAdapter(Hyperparameters)
_FAILURE = TypeAdapter(Failure | None)
_MASK = TypeAdapter(MaskCertificate | None)
_INITIAL_MODEL = TypeAdapter(TunedModel | None)
_INTEGRATIONS = TypeAdapter(tuple[Integration, ...])
_PROGRESS = TypeAdapter(Progress | None)
_ARTIFACTS = TypeAdapter(tuple[Artifact, ...])

# What clients ask all the time is put together once.
_BY_ID = sa.select(jobs).where(jobs.c.id == sa.bindparam("job_id"))
_OWNED = _BY_ID.where(jobs.c.organization_id == sa.bindparam("owner"))
_BY_ID_TO_CHANGE, _OWNED_TO_CHANGE = _BY_ID.with_for_update(), _OWNED.with_for_update()


class Jobs:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, job: Job) -> None:
        columns = {**_columns(job), "updated_at": job.updated_at or job.created_at}
        self._connection.execute(sa.insert(jobs).values(**columns))

    def get(self, job_id: UUID, owner: UUID) -> Job:
        return self._get(_OWNED, job_id, owner)

    def get_to_change(self, job_id: UUID, owner: UUID) -> Job:
        """The row is locked where the database can: what is decided on it is still so when done."""
        return self._get(_OWNED_TO_CHANGE, job_id, owner)

    def get_for_worker(self, job_id: UUID) -> Job:
        """Whoever owns it: for reports, which the lease has already been checked for.

        The row is locked where the database can lock one: a report may not fail because the job's
        owner has changed their mind meanwhile.
        """
        return self._get(_BY_ID_TO_CHANGE, job_id)

    def find_repeated(self, owner: UUID, request_digest: str, since: datetime) -> Job | None:
        """The newest job that was asked for in the same way, unless it is too old."""
        query = (
            sa.select(jobs)
            .where(jobs.c.organization_id == owner, jobs.c.created_at >= since)
            .where(jobs.c.request_digest == request_digest)
            .order_by(jobs.c.seq.desc())
            .limit(1)
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _job(row)

    def list_page(
        self, owner: UUID, request: PageRequest, wanted: JobFilter | None = None
    ) -> Page[Job]:
        scope: sa.Column[UUID] | None = jobs.c.organization_id
        where = is_only(self._connection, jobs.c.organization_id, owner)
        source: sa.FromClause = jobs
        place: sa.Column[int] = jobs.c.seq
        if wanted is not None and wanted.has_no_metadata:
            where = sa.and_(where, has_no_metadata)
        if wanted is not None and wanted.metadata:
            (key, value), *others = wanted.metadata
            source = jobs.join(job_metadata, job_metadata.c.job_seq == jobs.c.seq)
            # So that its index is walked, which has the order.
            scope, place = None, job_metadata.c.job_seq
            where = sa.and_(
                jobs.c.organization_id == owner, _carries(job_metadata, owner, key, value)
            )
            for number, (key, value) in enumerate(others):
                other = job_metadata.alias(f"other_{number}")
                same = other.c.job_seq == job_metadata.c.job_seq
                where = sa.and_(where, sa.exists().where(same, _carries(other, owner, key, value)))
        return select_page(
            self._connection, jobs, where, request, _job, scope=scope, source=source, place=place
        )

    def search(self, owner: UUID, wanted: JobSearch) -> Slice[Job]:
        listed = JobLists(self._connection, owner, wanted)
        items = tuple(_job(row) for row in listed.rows())
        return Slice(items=items, count=listed.count(len(items)))

    def count_by_status(self, owner: UUID) -> dict[JobStatus, int]:
        return count_by_status(self._connection, owner)

    def is_file_needed(self, file_id: UUID) -> bool:
        """By a job that has not ended."""
        uses = sa.or_(jobs.c.training_file_id == file_id, jobs.c.validation_file_id == file_id)
        final = [status for status in JobStatus if status.is_final]
        query = sa.select(jobs.c.seq).where(uses, jobs.c.status.not_in(final)).limit(1)
        return self._connection.scalar(query) is not None

    def set_priority(self, job_id: UUID, priority: int) -> None:
        where = jobs.c.id == job_id
        self._connection.execute(sa.update(jobs).where(where).values(priority=priority))

    def touch(self, job_id: UUID, now: datetime) -> None:
        """For a change that adds nothing to the job's events."""
        self._connection.execute(sa.update(jobs).where(jobs.c.id == job_id).values(updated_at=now))

    def delete(self, job: Job) -> None:
        """Without what other tables have of it; raises `Conflict` where it has changed since."""
        where = (jobs.c.id == job.id, jobs.c.status == job.status, jobs.c.attempt == job.attempt)
        if self._connection.execute(sa.delete(jobs).where(*where)).rowcount == 0:
            raise Conflict("The job has changed in the meantime; read it again.")

    def replace(self, before: Job, after: Job) -> None:
        """Write `after` if the row is still in the state of `before`."""
        where = (
            jobs.c.id == before.id,
            jobs.c.status == before.status,
            jobs.c.attempt == before.attempt,
            jobs.c.is_pause_wanted == before.is_pause_wanted,
        )
        changed = self._connection.execute(sa.update(jobs).where(*where).values(**_columns(after)))
        if changed.rowcount == 0:
            raise Conflict("The job has changed in the meantime; read it again.")

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """An attempt that went over the same step again replaces what was there."""
        where = (checkpoints.c.job_id == checkpoint.job_id, checkpoints.c.step == checkpoint.step)
        self._connection.execute(sa.delete(checkpoints).where(*where))
        self._connection.execute(
            sa.insert(checkpoints).values(
                id=checkpoint.id,
                job_id=checkpoint.job_id,
                step=checkpoint.step,
                epoch=checkpoint.epoch,
                artifacts=plain(_ARTIFACTS, checkpoint.artifacts),
                tuned_model_short_id=checkpoint.tuned_model_short_id,
                metrics=checkpoint.metrics,
                created_at=checkpoint.created_at,
            )
        )

    def delete_checkpoints(self, job_id: UUID) -> None:
        self._connection.execute(sa.delete(checkpoints).where(checkpoints.c.job_id == job_id))

    def delete_checkpoint(self, checkpoint_id: UUID) -> None:
        self._connection.execute(sa.delete(checkpoints).where(checkpoints.c.id == checkpoint_id))

    def all_checkpoints(self, job_id: UUID) -> tuple[Checkpoint, ...]:
        """Those to go on from and those that answer, by step."""
        query = (
            sa.select(checkpoints)
            .where(checkpoints.c.job_id == job_id)
            .order_by(checkpoints.c.step)
        )
        return tuple(_checkpoint(row) for row in self._connection.execute(query).mappings())

    def list_checkpoints(self, job_id: UUID, request: PageRequest) -> Page[Checkpoint]:
        """Those that answer by name."""
        where = sa.and_(
            checkpoints.c.job_id == job_id, checkpoints.c.tuned_model_short_id.is_not(None)
        )
        return select_page(self._connection, checkpoints, where, request, _checkpoint)

    def _get(self, query: sa.Select[Any], job_id: UUID, owner: UUID | None = None) -> Job:
        asked = {"job_id": job_id} if owner is None else {"job_id": job_id, "owner": owner}
        row = self._connection.execute(query, asked).mappings().one_or_none()
        if row is None:
            raise NotFound("job", str(job_id))
        return _job(row)


def _carries(table: sa.FromClause, owner: UUID, key: str, value: str) -> sa.ColumnElement[bool]:
    return sa.and_(table.c.organization_id == owner, table.c.key == key, table.c.value == value)


def _columns(job: Job) -> dict[str, Any]:
    validation = job.validation_file
    return {
        "id": job.id,
        "organization_id": job.organization_id,
        "base_model": job.base_model,
        "training_file_id": job.training_file.file_id,
        "training_sha256": job.training_file.blob.sha256,
        "training_bytes": job.training_file.blob.size_bytes,
        "validation_file_id": None if validation is None else validation.file_id,
        "validation_sha256": None if validation is None else validation.blob.sha256,
        "validation_bytes": None if validation is None else validation.blob.size_bytes,
        "hyperparameters": plain(_HYPERPARAMETERS, job.hyperparameters),
        "seed": job.seed,
        "suffix": job.suffix,
        "metadata": job.metadata,
        "status": job.status,
        "attempt": job.attempt,
        "created_at": job.created_at,
        "finished_at": job.finished_at,
        "estimated_finish_at": job.estimated_finish_at,
        "trained_tokens": job.trained_tokens,
        "failure": plain(_FAILURE, job.failure),
        "mask": plain(_MASK, job.mask),
        "tuned_model_short_id": job.tuned_model_short_id,
        "results_file_id": job.results_file_id,
        "method": job.method,
        "initial_model": plain(_INITIAL_MODEL, job.initial_model),
        "integrations": plain(_INTEGRATIONS, job.integrations),
        "is_pause_wanted": job.is_pause_wanted,
        "request_digest": job.request_digest,
        "name": job.name,
        "description": job.description,
        "search_text": f"{job.name}\n{job.description or ''}".casefold(),
        "key_id": job.key_id,
        "needs_deployment": job.needs_deployment,
        "started_at": job.started_at,
        "progress": plain(_PROGRESS, job.progress),
        "num_trained_tokens": job.num_trained_tokens,
        "model_name": job.model_name,
        "priority": job.priority,
        "traceparent": job.traceparent,
        "training_filename": job.training_file.filename,
        "training_reference": job.training_file.reference,
        "validation_filename": None if validation is None else validation.filename,
        "validation_reference": None if validation is None else validation.reference,
    }


def _job(row: Row) -> Job:
    return Job(
        id=row["id"],
        organization_id=row["organization_id"],
        base_model=row["base_model"],
        training_file=_pinned(row, "training"),
        validation_file=_pinned(row, "validation") if row["validation_file_id"] else None,
        hyperparameters=_HYPERPARAMETERS.validate_python(row["hyperparameters"]),
        seed=row["seed"],
        suffix=row["suffix"],
        metadata=row["metadata"],
        status=JobStatus(row["status"]),
        attempt=row["attempt"],
        created_at=row["created_at"],
        finished_at=row["finished_at"],
        estimated_finish_at=row["estimated_finish_at"],
        trained_tokens=row["trained_tokens"],
        failure=_FAILURE.validate_python(row["failure"]),
        mask=_MASK.validate_python(row["mask"]),
        tuned_model_short_id=row["tuned_model_short_id"],
        results_file_id=row["results_file_id"],
        method=Method(row["method"]),
        initial_model=_INITIAL_MODEL.validate_python(row["initial_model"]),
        integrations=_INTEGRATIONS.validate_python(row["integrations"]),
        is_pause_wanted=row["is_pause_wanted"],
        request_digest=row["request_digest"],
        name=row["name"],
        description=row["description"],
        key_id=row["key_id"],
        needs_deployment=row["needs_deployment"],
        started_at=row["started_at"],
        updated_at=row["updated_at"],
        progress=_PROGRESS.validate_python(row["progress"]),
        model_name=row["model_name"],
        priority=row["priority"],
        traceparent=row["traceparent"],
    )


def _pinned(row: Row, which: str) -> PinnedFile:
    blob = Blob(sha256=row[f"{which}_sha256"], size_bytes=row[f"{which}_bytes"])
    return PinnedFile(
        file_id=row[f"{which}_file_id"],
        blob=blob,
        filename=row[f"{which}_filename"],
        reference=row[f"{which}_reference"],
    )


def _checkpoint(row: Row) -> Checkpoint:
    return Checkpoint(
        id=row["id"],
        job_id=row["job_id"],
        step=row["step"],
        epoch=row["epoch"],
        artifacts=_ARTIFACTS.validate_python(row["artifacts"]),
        tuned_model_short_id=row["tuned_model_short_id"],
        metrics=row["metrics"],
        created_at=row["created_at"],
    )
