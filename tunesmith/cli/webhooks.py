"""Webhooks: who is told how jobs ended, for the operator of a data folder."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.admin import ask
from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, Table

app = typer.Typer(help="Webhooks that are told how jobs ended.", no_args_is_help=True)

_TEST_SECONDS = 15.0
_LOOK_SECONDS = 0.5


@app.command("create")
def create_webhook(
    url: Annotated[str, typer.Argument(help="Where to POST to.")],
    outcomes: Annotated[
        str, typer.Option("--on", help="Comma-separated: which ends of a job to tell of.")
    ] = "succeeded,failed,stopped",
    data_dir: DataDir = None,
) -> None:
    """Add a webhook and print its signing secret, alone, on standard output.

    The secret cannot be shown again.
    """
    body = {"url": url, "outcomes": [outcome.strip() for outcome in outcomes.split(",")]}
    typer.echo(ask(data_dir, "POST", "/webhooks", body)["secret"])


@app.command("list")
def list_webhooks(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show all webhooks, and what came of the latest delivery to each."""
    found = ask(data_dir, "GET", "/webhooks")
    if as_json:
        print_json(found)
        return
    table = Table("id", "url", "on", "latest delivery")
    for webhook in found:
        latest = webhook["last_delivery"]
        shown = "none yet" if latest is None else _summary(latest)
        table.add_row(webhook["id"], webhook["url"], " ".join(webhook["outcomes"]), shown)
    Console().print(table)


@app.command("deliveries")
def list_deliveries(webhook_id: str, as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show what became of the newest hundred events for a webhook."""
    found = ask(data_dir, "GET", f"/webhooks/{webhook_id}/deliveries")
    if as_json:
        print_json(found)
        return
    table = Table("event of", "job", "status", "attempts", "latest result", "next attempt")
    for item in found:
        table.add_row(
            item["created_at"],
            f"{item['job_id']} {item['outcome']}",
            item["status"],
            str(item["attempts"]),
            item["result"] or "",
            item["next_attempt_at"] or "",
        )
    Console().print(table)


@app.command("delete")
def delete_webhook(webhook_id: str, data_dir: DataDir = None) -> None:
    """Tell it nothing more, not even what is waiting."""
    ask(data_dir, "DELETE", f"/webhooks/{webhook_id}")


@app.command("test")
def send_test_event(webhook_id: str, data_dir: DataDir = None) -> None:
    """Send an event of a job that does not exist, and show what came of it."""
    sent = ask(data_dir, "POST", f"/webhooks/{webhook_id}/test")
    deadline = time.monotonic() + _TEST_SECONDS
    while time.monotonic() < deadline:
        delivery = _delivery(data_dir, webhook_id, sent["id"])
        if delivery["status"] == "delivered":
            typer.echo(_summary(delivery))
            return
        if delivery["result"] is not None:
            fail(_summary(delivery))
        time.sleep(_LOOK_SECONDS)
    fail("Not sent yet: it will be when a server runs on this data folder.")


def _delivery(data_dir: Path | None, webhook_id: str, delivery_id: str) -> Any:
    deliveries = ask(data_dir, "GET", f"/webhooks/{webhook_id}/deliveries")
    return next(item for item in deliveries if item["id"] == delivery_id)


def _summary(delivery: dict[str, Any]) -> str:
    result = delivery["result"] or "not sent yet"
    return f"{delivery['status']}, attempts: {delivery['attempts']}, {result}"
