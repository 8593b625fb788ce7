"""Stored bytes as an answer, told apart by what they are and when their owner made them.

Never by the time of their file: organizations that have the same bytes share one, and it is
written anew with each.
"""

from datetime import datetime
from email.utils import format_datetime
from pathlib import Path

from fastapi.responses import FileResponse

from tunesmith.domain.files import Blob


def answer(path: Path, blob: Blob, filename: str, made_at: datetime) -> FileResponse:
    return FileResponse(
        path,
        media_type="application/octet-stream",
        filename=filename,
        headers=validators(blob.sha256, made_at),
    )


def validators(name: str, made_at: datetime) -> dict[str, str]:
    """The bytes never change, so what names them is a strong validator."""
    return {"etag": f'"{name}"', "last-modified": format_datetime(made_at, usegmt=True)}
