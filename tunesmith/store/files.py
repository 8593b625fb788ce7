"""Files that organizations uploaded or were given."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.errors import NotFound
from tunesmith.domain.files import Blob, File, FilePurpose
from tunesmith.domain.paging import Page, PageRequest, Slice
from tunesmith.store.rows import Row, select_page
from tunesmith.store.tables import (
    checkpoints,
    files,
    jobs,
    registered_adapters,
    tuned_models,
    upload_parts,
)


class Files:
    """A file that has expired is there no more, whether or not its row is."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, file: File) -> None:
        self._connection.execute(
            sa.insert(files).values(
                id=file.id,
                organization_id=file.organization_id,
                filename=file.filename,
                purpose=file.purpose,
                sha256=file.blob.sha256,
                size_bytes=file.blob.size_bytes,
                created_at=file.created_at,
                expires_at=file.expires_at,
                title=file.title,
                num_examples=file.num_examples,
            )
        )

    def get(self, file_id: UUID, owner: UUID, now: datetime) -> File:
        file = self.find(file_id, owner, now)
        if file is None:
            raise NotFound("file", str(file_id))
        return file

    def find(self, file_id: UUID, owner: UUID, now: datetime) -> File | None:
        query = sa.select(files).where(files.c.id == file_id, _is_there(owner, now))
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _file(row)

    def list_page(
        self,
        owner: UUID,
        request: PageRequest,
        now: datetime,
        purpose: FilePurpose | None = None,
    ) -> Page[File]:
        where = _is_there(owner, now)
        if purpose is not None:
            where = sa.and_(where, files.c.purpose == purpose)
        return select_page(self._connection, files, where, request, _file)

    def list_slice(
        self, owner: UUID, now: datetime, purpose: FilePurpose, *, offset: int, limit: int
    ) -> Slice[File]:
        """Newest first."""
        where = sa.and_(_is_there(owner, now), files.c.purpose == purpose)
        count = self._connection.scalar(sa.select(sa.func.count()).select_from(files).where(where))
        query = (
            sa.select(files).where(where).order_by(files.c.seq.desc()).offset(offset).limit(limit)
        )
        found = self._connection.execute(query).mappings()
        return Slice(items=tuple(_file(row) for row in found), count=count or 0)

    def find_by_name(self, filename: str, owner: UUID, now: datetime) -> File | None:
        """The newest training file of that name."""
        query = (
            sa.select(files)
            .where(_is_there(owner, now), files.c.purpose == FilePurpose.TRAINING)
            .where(files.c.filename == filename)
            .order_by(files.c.seq.desc())
            .limit(1)
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _file(row)

    def delete(self, file_id: UUID, owner: UUID, now: datetime) -> None:
        where = (files.c.id == file_id, _is_there(owner, now))
        if self._connection.execute(sa.delete(files).where(*where)).rowcount == 0:
            raise NotFound("file", str(file_id))

    def discard(self, file_id: UUID) -> None:
        """Whoever owns it, and if it is there at all."""
        self._connection.execute(sa.delete(files).where(files.c.id == file_id))

    def delete_expired(self, now: datetime) -> int:
        """Of every owner; returns how many."""
        return self._connection.execute(sa.delete(files).where(files.c.expires_at <= now)).rowcount

    def blobs_in_use(self) -> set[str]:
        """The SHA-256 of all bytes that a file, a part, a job, a checkpoint or a model needs."""
        in_use = set(self._connection.scalars(sa.select(files.c.sha256)))
        in_use.update(self._connection.scalars(sa.select(upload_parts.c.sha256)))
        for column in (jobs.c.training_sha256, jobs.c.validation_sha256):
            in_use.update(self._connection.scalars(sa.select(column).where(column.is_not(None))))
        lists = (checkpoints.c.artifacts, tuned_models.c.artifacts, registered_adapters.c.files)
        for column in lists:
            for artifacts in self._connection.scalars(sa.select(column)):
                in_use.update(artifact["blob"]["sha256"] for artifact in artifacts)
        for model in self._connection.scalars(sa.select(jobs.c.initial_model)):
            if model is not None:
                in_use.update(artifact["blob"]["sha256"] for artifact in model["artifacts"])
        return in_use


def _is_there(owner: UUID, now: datetime) -> sa.ColumnElement[bool]:
    has_time_left = sa.or_(files.c.expires_at.is_(None), files.c.expires_at > now)
    return sa.and_(files.c.organization_id == owner, has_time_left)


def _file(row: Row) -> File:
    return File(
        id=row["id"],
        organization_id=row["organization_id"],
        filename=row["filename"],
        purpose=FilePurpose(row["purpose"]),
        blob=Blob(sha256=row["sha256"], size_bytes=row["size_bytes"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        title=row["title"],
        num_examples=row["num_examples"],
    )
