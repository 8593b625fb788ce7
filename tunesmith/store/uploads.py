"""Uploads and the parts that they wait for."""

from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.errors import NotFound
from tunesmith.domain.files import Blob, FilePurpose
from tunesmith.domain.uploads import Completion, Upload, UploadPart, UploadStatus
from tunesmith.store.rows import Row, plain
from tunesmith.store.tables import upload_parts, uploads

_COMPLETION: TypeAdapter[Completion | None] = TypeAdapter(Completion | None)


class Uploads:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, upload: Upload) -> None:
        lifetime = upload.lifetime
        self._connection.execute(
            sa.insert(uploads).values(
                id=upload.id,
                organization_id=upload.organization_id,
                filename=upload.filename,
                purpose=upload.purpose,
                size_bytes=upload.size_bytes,
                lifetime_seconds=None if lifetime is None else int(lifetime.total_seconds()),
                created_at=upload.created_at,
                status=upload.status,
            )
        )

    def get(self, upload_id: UUID, owner: UUID) -> Upload:
        return self._get(upload_id, owner)

    def get_to_complete(self, upload_id: UUID, owner: UUID) -> Upload:
        """The row is locked where the database can: another server that completes it waits."""
        return self._get(upload_id, owner, for_update=True)

    def _get(self, upload_id: UUID, owner: UUID, *, for_update: bool = False) -> Upload:
        query = sa.select(uploads).where(
            uploads.c.id == upload_id, uploads.c.organization_id == owner
        )
        if for_update:
            query = query.with_for_update()
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound("upload", str(upload_id))
        return _upload(row)

    def settle(self, upload: Upload) -> bool:
        """Make a pending upload final and let go of its parts; False where it is no longer pending.

        Whoever is first decides: a completion, or a cancellation.
        """
        is_first = self._connection.execute(
            sa.update(uploads)
            .where(uploads.c.id == upload.id, uploads.c.status == UploadStatus.PENDING)
            .values(
                status=upload.status,
                completion=plain(_COMPLETION, upload.completion),
                file_id=upload.file_id,
            )
        ).rowcount
        if is_first:
            self.delete_parts(upload.id)
        return bool(is_first)

    def delete_parts(self, upload_id: UUID) -> None:
        self._connection.execute(
            sa.delete(upload_parts).where(upload_parts.c.upload_id == upload_id)
        )

    def add_part(self, part: UploadPart) -> None:
        self._connection.execute(
            sa.insert(upload_parts).values(
                id=part.id,
                upload_id=part.upload_id,
                sha256=part.blob.sha256,
                size_bytes=part.blob.size_bytes,
                created_at=part.created_at,
            )
        )

    def list_parts(self, upload_id: UUID) -> tuple[UploadPart, ...]:
        query = sa.select(upload_parts).where(upload_parts.c.upload_id == upload_id)
        return tuple(_part(row) for row in self._connection.execute(query).mappings())

    def size_of_parts(self, upload_id: UUID) -> tuple[int, int]:
        """How many there are, and their bytes together."""
        total = sa.func.coalesce(sa.func.sum(upload_parts.c.size_bytes), 0)
        query = sa.select(sa.func.count(), total).where(upload_parts.c.upload_id == upload_id)
        count, size_bytes = self._connection.execute(query).one()
        return count, int(size_bytes)

    def delete_old(self, created_until: datetime) -> None:
        """Uploads with their parts, of every owner, in whatever state."""
        self._connection.execute(sa.delete(uploads).where(uploads.c.created_at <= created_until))

    def delete_parts_of_old(self, created_until: datetime) -> int:
        """Of uploads that old, which stay; returns how many parts."""
        old = sa.select(uploads.c.id).where(uploads.c.created_at <= created_until)
        return self._connection.execute(
            sa.delete(upload_parts).where(upload_parts.c.upload_id.in_(old))
        ).rowcount


def _upload(row: Row) -> Upload:
    seconds = row["lifetime_seconds"]
    return Upload(
        id=row["id"],
        organization_id=row["organization_id"],
        filename=row["filename"],
        purpose=FilePurpose(row["purpose"]),
        size_bytes=row["size_bytes"],
        lifetime=None if seconds is None else timedelta(seconds=seconds),
        created_at=row["created_at"],
        status=UploadStatus(row["status"]),
        completion=_COMPLETION.validate_python(row["completion"]),
        file_id=row["file_id"],
    )


def _part(row: Row) -> UploadPart:
    return UploadPart(
        id=row["id"],
        upload_id=row["upload_id"],
        blob=Blob(sha256=row["sha256"], size_bytes=row["size_bytes"]),
        created_at=row["created_at"],
    )
