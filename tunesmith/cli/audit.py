"""The log of who did what, for the operator of a data folder."""

import json
from typing import Annotated, Any

import typer

from tunesmith.cli.accounts import Org
from tunesmith.cli.admin import ask
from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, Table

app = typer.Typer(help="The log of who did what.", no_args_is_help=True)

_PAGE = 1000


@app.command("list")
def list_entries(
    limit: Annotated[int, typer.Option("--limit", min=1, max=_PAGE, help="How many.")] = 50,
    org: Org = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show the newest entries."""
    found = ask(data_dir, "GET", f"/audit?limit={limit}", organization=org)
    if as_json:
        print_json(found)
        return
    table = Table("no.", "when", "outcome", "action", "object", "key", "from", "times")
    for entry in found:
        table.add_row(
            str(entry["number"]),
            entry["created_at"],
            entry["outcome"],
            entry["action"],
            entry["object"],
            entry["key_id"] or "",
            entry["ip"] or "",
            str(entry["times"]),
        )
    Console().print(table)


@app.command("export")
def export_entries(org: Org = None, data_dir: DataDir = None) -> None:
    """Print all entries as JSONL, oldest first."""
    after = 0
    while page := _page(data_dir, org, after):
        for entry in page:
            typer.echo(json.dumps(entry))
        after = page[-1]["number"]


@app.command("verify")
def verify_entries(
    head: Annotated[
        str | None,
        typer.Option("--head", help="A digest that was noted before, which must still be there."),
    ] = None,
    org: Org = None,
    data_dir: DataDir = None,
) -> None:
    """Check that every entry is as it was written, and print the newest digest to note down."""
    verdict = ask(data_dir, "GET", "/audit/verify", organization=org)
    if not verdict["ok"]:
        fail(f"Entry {verdict['broken_at']} was changed, or the one before it was taken out.")
    if head is not None and not _has(data_dir, org, head):
        fail("No entry has the digest that was noted: entries were taken out or written anew.")
    typer.echo(f"{verdict['num_entries']} entries are as they were written; head {verdict['head']}")


def _has(data_dir: Any, org: str | None, head: str) -> bool:
    after = 0
    while page := _page(data_dir, org, after):
        if any(entry["digest"] == head for entry in page):
            return True
        after = page[-1]["number"]
    return False


def _page(data_dir: Any, org: str | None, after: int) -> list[dict[str, Any]]:
    path = f"/audit?after={after}&limit={_PAGE}"
    found: list[dict[str, Any]] = ask(data_dir, "GET", path, organization=org)
    return found
