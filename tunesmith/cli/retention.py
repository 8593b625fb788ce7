"""`retention`: what the settings let go of."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.services import retention
from tunesmith.store.database import Database


def show(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Required: only show.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what the next daily round of the server will remove, by the settings in force here."""
    if not dry_run:
        fail("The server removes it, once a day and at its start; --dry-run shows what would go.")
    settings = load_settings(data_dir=data_dir)
    database = Database(application.database_url(settings))
    with database.read() as store:
        policy = application.retention_policy(settings)
        going = retention.look(store, policy, datetime.now(UTC))
    database.close()
    typer.echo(
        f"{going.num_checkpoints} checkpoints of {going.num_bytes:,} bytes, "
        f"{going.num_events:,} events."
    )
