"""Settings, and questions to the admin API, for the operator of a data folder."""

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import typer

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.cli.output import Console, Table
from tunesmith.cli.ownership import DataFolderInUse, owned
from tunesmith.cli.remote import connected
from tunesmith.dialects import admin as dialect
from tunesmith.settings import Settings


def show_settings(data_dir: DataDir = None) -> None:
    """Print every setting, where it comes from the environment too. Secrets are masked."""
    settings = load_settings(data_dir=data_dir)
    table = Table("variable", "value", "what it is")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        table.add_row(f"TUNESMITH_{name.upper()}", str(value), field.description)
    Console().print(table)


def ask(
    data_dir: Path | None,
    method: str,
    path: str,
    body: Any = None,
    *,
    organization: str | None = None,
    prefix: str = dialect.PREFIX,
) -> Any:
    """Ask the admin API, or that of another prefix, for the organization that is named.

    Of the server at TUNESMITH_URL where there is a key for it and no folder was named; else of the
    data folder, in the name of its operator: of its running server, or of one inside here.
    """
    if organization is not None:
        path += f"{'&' if '?' in path else '?'}organization={quote(organization, safe='')}"
    settings = load_settings(data_dir=data_dir)
    if data_dir is not None or settings.api_key is None:
        try:
            with owned(settings.data_dir):
                return asyncio.run(_ask_in_here(settings, method, prefix + path, body))
        except DataFolderInUse as error:
            if error.url is None:
                fail("The server of this data folder is just starting; try again in a second.")
    with connected(data_dir) as remote:
        answer = remote.ask(method, prefix + path, json=body)
    return answer.json() if answer.content else None


async def _ask_in_here(settings: Settings, method: str, path: str, body: Any) -> Any:
    built = application.build(settings)
    if built.first_key is not None:
        # Kept off standard output, which scripts read.
        typer.echo(f"Admin key, shown this once: {built.first_key}", err=True)
    key = (settings.data_dir / application.ADMIN_KEY_FILE).read_text().strip()
    transport = httpx.ASGITransport(app=built.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        headers = {"Authorization": f"Bearer {key}"}
        answer = await client.request(method, path, json=body, headers=headers)
    if answer.is_error:
        fail(str(answer.json()["error"]["message"]))
    return answer.json() if answer.content else None
