"""`backup` and `restore`."""

from pathlib import Path
from typing import Annotated

import typer

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.domain.errors import TunesmithError
from tunesmith.services import backups


def backup(
    folder: Annotated[Path, typer.Argument(help="Where to; an earlier backup is brought forward.")],
    data_dir: DataDir = None,
) -> None:
    """Copy the database and all bytes that it names, while the server runs or not."""
    settings = load_settings(data_dir=data_dir)
    try:
        taken = backups.take(application.database_url(settings), settings.data_dir, folder)
    except TunesmithError as error:
        fail(error.message)
    typer.echo(f"{taken.num_blobs} blobs of {taken.size_bytes:,} bytes, {taken.num_new} new.")


def restore(
    folder: Annotated[Path, typer.Argument(help="A backup.")],
    data_dir: Annotated[Path, typer.Option("--data-dir", help="A new folder, or an empty one.")],
) -> None:
    """Check every byte of a backup and make a data folder of it."""
    try:
        restored = backups.restore(folder, data_dir)
    except TunesmithError as error:
        fail(error.message)
    typer.echo(f"Restored {restored.num_blobs} blobs of {restored.size_bytes:,} bytes.")
    if (data_dir / "tunesmith.dump").is_file():
        typer.echo("Now load tunesmith.dump with pg_restore, and set TUNESMITH_DATABASE_URL.")
