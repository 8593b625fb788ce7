"""Settings, and questions to the admin API, for the operator of a data folder."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import typer
from rich.console import Console
from rich.table import Table

from tunesmith import app as application
from tunesmith.cli import tls
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.cli.ownership import DataFolderInUse, owned
from tunesmith.dialects import admin as dialect
from tunesmith.settings import Settings

Result = TypeVar("Result")


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
) -> Any:
    """Ask the admin API of this data folder: of its running server, else of one inside here.

    In the name of the operator, for the organization that is named.
    """
    if organization is not None:
        path += f"{'&' if '?' in path else '?'}organization={quote(organization, safe='')}"
    settings = load_settings(data_dir=data_dir)

    async def with_client(client: httpx.AsyncClient) -> Any:
        key = (settings.data_dir / application.ADMIN_KEY_FILE).read_text().strip()
        headers = {"Authorization": f"Bearer {key}"}
        answer = await client.request(method, dialect.PREFIX + path, json=body, headers=headers)
        if answer.is_error:
            fail(str(answer.json()["error"]["message"]))
        return answer.json() if answer.content else None

    try:
        with owned(settings.data_dir):
            return asyncio.run(_in_here(settings, with_client))
    except DataFolderInUse as error:
        if error.url is None:
            fail("The server of this data folder is just starting; try again in a second.")
        return asyncio.run(_over_network(error.url, error.certificate, with_client))


async def _in_here(
    settings: Settings, use: Callable[[httpx.AsyncClient], Awaitable[Result]]
) -> Result:
    built = application.build(settings)
    if built.first_key is not None:
        # Kept off standard output, which scripts read.
        typer.echo(f"Admin key, shown this once: {built.first_key}", err=True)
    transport = httpx.ASGITransport(app=built.asgi)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        return await use(client)


async def _over_network(
    url: str, certificate: Path | None, use: Callable[[httpx.AsyncClient], Awaitable[Result]]
) -> Result:
    verify = tls.context(url, certificate) or True
    async with httpx.AsyncClient(base_url=url, verify=verify, trust_env=False) as client:
        return await use(client)
