"""What organizations may have, for the operator of a data folder."""

import json
from typing import Annotated, Any

import typer

from tunesmith.cli.admin import ask
from tunesmith.cli.options import DataDir
from tunesmith.cli.output import Console, Table

NO_LIMIT = "none"
_USE_OF = {
    "max_running_jobs": "running_jobs",
    "max_queued_jobs": "queued_jobs",
    "max_stored_bytes": "stored_bytes",
    "max_tokens_per_day": "tokens_today",
}
_UNITS = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def _limit(text: str) -> int | str:
    number, unit = text, 1
    if text[-1:].lower() in _UNITS:
        number, unit = text[:-1], _UNITS[text[-1].lower()]
    if text == NO_LIMIT:
        return text
    if not number.isdecimal():
        raise typer.BadParameter(f"a number such as 20, 5M or 100G, or `{NO_LIMIT}`")
    return int(number) * unit


def _option(what: str) -> Any:
    help = f"{what}; a number such as 20, 5M or 100G, or `{NO_LIMIT}`."
    return typer.Option(help=help, parser=_limit, metavar="LIMIT")


def quota(
    reference: Annotated[str, typer.Argument(help="The organization, by slug or id.")],
    weight: Annotated[
        float | None, typer.Option(help="Its share of the workers beside others; most have 1.")
    ] = None,
    default_priority: Annotated[
        int | None, typer.Option(min=1, max=5, help="Of its new jobs; 5 goes first.")
    ] = None,
    max_running_jobs: Annotated[Any, _option("Jobs that train at once")] = None,
    max_queued_jobs: Annotated[Any, _option("Jobs that wait")] = None,
    max_stored_bytes: Annotated[Any, _option("Bytes of files and uploads")] = None,
    max_tokens_per_day: Annotated[Any, _option("Tokens trained in a day (UTC)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show what an organization may have and what it has; with options, change it first."""
    given = {
        "weight": weight,
        "default_priority": default_priority,
        "max_running_jobs": max_running_jobs,
        "max_queued_jobs": max_queued_jobs,
        "max_stored_bytes": max_stored_bytes,
        "max_tokens_per_day": max_tokens_per_day,
    }
    changes = {
        name: None if value == NO_LIMIT else value
        for name, value in given.items()
        if value is not None
    }
    path = f"/organizations/{reference}/quota"
    found = ask(data_dir, "PATCH", path, changes) if changes else ask(data_dir, "GET", path)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        Console().print(_table(found))


def _table(found: dict[str, Any]) -> Table:
    table = Table("quota", "at most", "now")
    for name in _USE_OF:
        limit, use = found[name], found["use"][_USE_OF[name]]
        table.add_row(name, NO_LIMIT if limit is None else f"{limit:,}", f"{use:,}")
    table.add_row("weight", f"{found['weight']:g}", "")
    table.add_row("default_priority", str(found["default_priority"]), "")
    return table
