"""Keys, base models and settings, for the operator of a data folder."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, TypeVar

import httpx
import typer
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from rich.console import Console
from rich.table import Table

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.cli.ownership import DataFolderInUse, owned
from tunesmith.dialects import admin as dialect
from tunesmith.domain.accounts import USER_SCOPES, Scope
from tunesmith.domain.catalog import DEFAULT_LEARNING_RATE
from tunesmith.domain.errors import TunesmithError
from tunesmith.services import weights
from tunesmith.settings import Settings

keys = typer.Typer(help="API keys.", no_args_is_help=True)
models = typer.Typer(help="The base-model catalogue.", no_args_is_help=True)

Result = TypeVar("Result")
_WEIGHT_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


@keys.command("create")
def create_key(
    scopes: Annotated[
        str,
        typer.Option("--scopes", help=f"Comma-separated: {', '.join(Scope)}; or `user`, `all`."),
    ] = "user",
    name: Annotated[str, typer.Option("--name", help="What the key is for.")] = "key",
    email: Annotated[
        str | None,
        typer.Option("--email", help="Its owner's, for clients that send one beside the key."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, alone, on standard output. It cannot be shown again."""
    wanted = {"user": sorted(USER_SCOPES), "all": sorted(Scope)}.get(scopes, scopes.split(","))
    body = {"name": name, "scopes": [scope.strip() for scope in wanted], "email": email}
    typer.echo(ask(data_dir, "POST", "/keys", body)["key"])


@keys.command("list")
def list_keys(data_dir: DataDir = None) -> None:
    """Show all keys, by their first characters."""
    table = Table("id", "name", "key", "scopes", "created")
    for key in ask(data_dir, "GET", "/keys"):
        prefix = f"{key['visible_prefix']}…"
        table.add_row(key["id"], key["name"], prefix, " ".join(key["scopes"]), key["created_at"])
    Console().print(table)


@keys.command("delete")
def delete_key(key_id: str, data_dir: DataDir = None) -> None:
    """Make a key worthless at once."""
    ask(data_dir, "DELETE", f"/keys/{key_id}")


@models.command("add")
def add_model(
    name: Annotated[str, typer.Argument(help="What programs will call it.")],
    source: Annotated[
        str, typer.Option("--from", help="A model folder, or a Hugging Face id such as org/name.")
    ],
    alias: Annotated[
        list[str] | None, typer.Option("--alias", help="A further name; may be repeated.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Of the Hugging Face id.")
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(help="What a learning-rate multiplier of 1 means.")
    ] = DEFAULT_LEARNING_RATE,
    data_dir: DataDir = None,
) -> None:
    """Offer a decoder model for tuning and answering. Safetensors only; no code of its own."""
    folder, origin = _obtain(source, revision)
    try:
        entry = weights.describe(
            folder,
            name=name,
            source=origin,
            aliases=tuple(alias or ()),
            learning_rate=learning_rate,
            now=datetime.now(UTC),
        )
    except TunesmithError as error:
        fail(error.message)
    body = dialect.translate.base_model(entry).model_dump()
    ask(data_dir, "PUT", "/base-models", body)
    typer.echo(f"{name}: {entry.num_parameters:,} parameters, {entry.context_tokens:,} tokens.")


@models.command("list")
def list_models(data_dir: DataDir = None) -> None:
    """Show the catalogue."""
    table = Table("name", "aliases", "parameters", "context", "from")
    for model in ask(data_dir, "GET", "/base-models"):
        table.add_row(
            model["name"],
            " ".join(model["aliases"]),
            f"{model['num_parameters']:,}",
            f"{model['context_tokens']:,}",
            model["source"],
        )
    Console().print(table)


@models.command("remove")
def remove_model(name: str, data_dir: DataDir = None) -> None:
    """Take a base model out of the catalogue; its weights stay where they are."""
    ask(data_dir, "DELETE", f"/base-models/{name}")


def show_settings(data_dir: DataDir = None) -> None:
    """Print every setting, where it comes from the environment too. Secrets are masked."""
    settings = load_settings(data_dir=data_dir)
    table = Table("variable", "value", "what it is")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        table.add_row(f"TUNESMITH_{name.upper()}", str(value), field.description)
    Console().print(table)


def _obtain(source: str, revision: str | None) -> tuple[Path, str]:
    """The folder of a source, downloaded if need be, and where it came from exactly."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve(), str(folder.resolve())
    try:
        fetched = snapshot_download(source, revision=revision, allow_patterns=_WEIGHT_FILES)
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        fail(f"{source!r} is no folder, and could not be had from Hugging Face: {error}")
    return Path(fetched), f"{source}@{Path(fetched).name}"


def ask(data_dir: Path | None, method: str, path: str, body: Any = None) -> Any:
    """Ask the admin API of this data folder: of its running server, else of one inside here."""
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
        return asyncio.run(_over_network(error.url, with_client))


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


async def _over_network(url: str, use: Callable[[httpx.AsyncClient], Awaitable[Result]]) -> Result:
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        return await use(client)
