"""`retention`: what the settings let go of."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.services import retention
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database


def show(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Required: only show.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what the next rounds of the server will remove, by the settings in force here."""
    if not dry_run:
        fail("The server removes it by itself; --dry-run shows what would go.")
    settings = load_settings(data_dir=data_dir)
    database = Database(application.database_url(settings))
    with database.read() as store:
        policy = application.retention_policy(settings)
        going = retention.look(store, policy, datetime.now(UTC))
        in_use = store.files.blobs_in_use()
    database.close()
    blobs = Blobs(settings.data_dir / "blobs")
    num_unused, num_bytes = blobs.count_unused(in_use, settings.retention_unused_hours * 3600)
    typer.echo(
        f"{going.num_checkpoints} checkpoints of {going.num_bytes:,} bytes, "
        f"{going.num_events:,} events; {num_unused:,} blobs that nothing refers to, of "
        f"{num_bytes:,} bytes."
    )
