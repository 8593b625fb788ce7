"""Jobs: train one again, and see whether the same comes out."""

import time
from typing import Annotated, Any
from uuid import UUID

import httpx
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from safetensors import SafetensorError
from safetensors.numpy import load

from tunesmith import app as application
from tunesmith.cli.options import DataDir, fail, load_settings
from tunesmith.cli.ownership import DataFolderInUse, owned
from tunesmith.dialects import admin, openai
from tunesmith.domain.errors import NotFound
from tunesmith.settings import Settings

app = typer.Typer(help="Fine-tuning jobs.", no_args_is_help=True)

_ADAPTER, _LOCK = "adapter_model.safetensors", "job.lock"
_LOOK_SECONDS = 0.5
_TIMEOUT_SECONDS = 60.0
# Where an attempt began and ended is chance, and says nothing of what came out.
_CHANCE = ("from_step", "to_step")


@app.callback()
def _group() -> None:
    """Keeps `jobs` a group while it has one command."""


@app.command("reproduce")
def reproduce(
    job_id: Annotated[str, typer.Argument(help="Of a job that has succeeded.")],
    data_dir: DataDir = None,
) -> None:
    """Train a job once more, from the same bytes and seed, and compare the adapters.

    Ends with 0 where they are equal byte for byte, with 1 where they are not. Asks the server at
    TUNESMITH_SERVER_URL with TUNESMITH_API_KEY; without a key, the server of the data folder.
    """
    settings = load_settings(data_dir=data_dir)
    with _server(settings) as http:
        again = _ask(http, "POST", f"{admin.PREFIX}/jobs/{_inner(job_id)}/reproduce").json()["id"]
        first, second = _finished(http, _inner(job_id)), _finished(http, UUID(again))
        adapters = [_file(http, model, _ADAPTER) for model in (first, second)]
        typer.echo(f"{first}\n{second}")
        if adapters[0] == adapters[1]:
            typer.echo("The adapters are equal, byte for byte.")
            return
        locks = [_lock(http, model) for model in (first, second)]
    _tell_difference(adapters, locks)
    raise typer.Exit(1)


def _server(settings: Settings) -> httpx.Client:
    url, key = settings.server_url, settings.api_key
    if key is None:
        url, secret = _of_data_folder(settings)
    else:
        secret = key.get_secret_value()
    headers = {"Authorization": f"Bearer {secret}"}
    return httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT_SECONDS, trust_env=False)


def _of_data_folder(settings: Settings) -> tuple[str, str]:
    """Where its server listens, and the operator's key."""
    try:
        with owned(settings.data_dir):
            pass
    except DataFolderInUse as error:
        if error.url is not None:
            key = (settings.data_dir / application.ADMIN_KEY_FILE).read_text().strip()
            return error.url, key
    fail(
        f"No server is running on {settings.data_dir}. Start one with `tunesmith serve`, or set "
        "TUNESMITH_SERVER_URL and TUNESMITH_API_KEY."
    )


def _inner(job_id: str) -> UUID:
    try:
        return UUID(job_id)
    except ValueError:
        pass
    try:
        return openai.translate.inner_id("job", job_id)
    except NotFound as error:
        fail(error.message)


def _finished(http: httpx.Client, job_id: UUID) -> str:
    """The name of the model, once the job has made it; with its progress meanwhile."""
    url = f"{openai.PREFIX}/fine_tuning/jobs/{openai.translate.outer_id('ftjob-', job_id)}"
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("waiting", total=None)
        while True:
            job = _ask(http, "GET", url).json()
            if job["status"] == "succeeded":
                return str(job["fine_tuned_model"])
            if job["status"] in ("failed", "cancelled", "paused"):
                reason = (job.get("error") or {}).get("message") or "its events say why"
                fail(f"The job {job['id']} is {job['status']}: {reason}")
            newest = _ask(http, "GET", f"{url}/events?limit=1").json()["data"]
            point = newest[0].get("data") or {} if newest else {}
            if "total_steps" in point:
                progress.update(
                    bar,
                    description="training",
                    total=point["total_steps"],
                    completed=point["step"],
                )
            time.sleep(_LOOK_SECONDS)


def _file(http: httpx.Client, model: str, name: str) -> bytes:
    return _ask(http, "GET", f"{openai.PREFIX}/models/{model}/files/{name}").content


def _lock(http: httpx.Client, model: str) -> dict[str, Any]:
    """Empty for a model from before there were locks."""
    listed = _ask(http, "GET", f"{openai.PREFIX}/models/{model}/files").json()["data"]
    if _LOCK not in {file["name"] for file in listed}:
        return {}
    answer = _ask(http, "GET", f"{openai.PREFIX}/models/{model}/files/{_LOCK}")
    lock: dict[str, Any] = answer.json()
    return lock


def _ask(http: httpx.Client, method: str, url: str) -> httpx.Response:
    try:
        answer = http.request(method, url)
    except httpx.TransportError as error:
        fail(f"{http.base_url} cannot be reached: {error}.")
    if answer.is_error:
        try:
            fail(str(answer.json()["error"]["message"]))
        except (ValueError, KeyError, TypeError):
            fail(f"The server answered {answer.status_code}.")
    return answer


def _tell_difference(adapters: list[bytes], locks: list[dict[str, Any]]) -> None:
    typer.echo(f"The adapters differ: {_distance(*adapters)}.")
    before, after = (_flat(lock) for lock in locks)
    differing = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    if not differing:
        typer.echo("Their locks name the same of everything.")
        return
    table = Table("in job.lock", "then", "now")
    for name in differing:
        table.add_row(name, str(before.get(name, "")), str(after.get(name, "")))
    Console().print(table)


def _distance(before: bytes, after: bytes) -> str:
    try:
        first, second = load(before), load(after)
    except (SafetensorError, ValueError) as error:
        return f"one cannot be read ({error})"
    shapes = [{name: tensor.shape for name, tensor in each.items()} for each in (first, second)]
    if shapes[0] != shapes[1]:
        return "their tensors have other names or shapes"
    largest = max(float(abs(first[name] - second[name]).max()) for name in first)
    return f"weights by {largest:.3g} at most"


def _flat(lock: dict[str, Any]) -> dict[str, object]:
    """Names with dots and their values, of everything but the result and chance."""
    found: dict[str, object] = {}

    def visit(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(f"{name}.{key}" if name else key, inner)
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                visit(f"{name}.{place}", inner)
        elif name.rpartition(".")[2] not in _CHANCE:
            found[name] = value

    visit("", {key: value for key, value in lock.items() if key != "result"})
    return found
