"""The queue, for the operator: who is next, why the others wait, and who matters more."""

from typing import Annotated

import typer

from tunesmith.cli.admin import ask
from tunesmith.cli.options import AsJson, DataDir, print_json
from tunesmith.cli.output import Console, Table


def list_queue(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show every job that waits: its place, why it waits, and what would start it."""
    found = ask(data_dir, "GET", "/queue")
    if as_json:
        print_json(found)
        return
    table = Table("place", "job", "organization", "task", "priority", "why", "starts when")
    for one in found:
        when = one["starts_when"] + (f" ({one['not_before']})" if one["not_before"] else "")
        table.add_row(
            str(one["position"] or ""),
            one["job_id"],
            one["organization_id"],
            one["task"],
            str(one["priority"]),
            one["reason"],
            when,
        )
    Console().print(table)


def prioritize(
    job_id: Annotated[str, typer.Argument(help="As `tunesmith queue` shows it.")],
    priority: Annotated[int, typer.Argument(min=1, max=5, help="From 1 to 5; 5 goes first.")],
    data_dir: DataDir = None,
) -> None:
    """Give a job that waits another priority; most have 3."""
    ask(data_dir, "PUT", f"/jobs/{job_id}/priority", {"priority": priority})
