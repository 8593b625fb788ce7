"""`jobs reproduce`: train a job again, and see whether the same comes out."""

from typing import Annotated, Any

import typer
from safetensors import SafetensorError

from tunesmith.cli.following import follow
from tunesmith.cli.options import DataDir, fail
from tunesmith.cli.output import Console, Table
from tunesmith.cli.remote import Remote, connected, inner, model_path
from tunesmith.dialects import admin

_ADAPTER, _LOCK = "adapter_model.safetensors", "job.lock"
# Where an attempt began and ended is chance, and says nothing of what came out.
_CHANCE = ("from_step", "to_step")


def reproduce(
    job_id: Annotated[str, typer.Argument(help="Of a job that has succeeded.")],
    data_dir: DataDir = None,
) -> None:
    """Train a job once more, from the same bytes and seed, and compare the weights.

    Ends with 0 where they are equal byte for byte, with 1 where they are not. Asks the server at
    TUNESMITH_URL with TUNESMITH_API_KEY; without a key, the server of the data folder.
    """
    with connected(data_dir) as remote:
        path = f"{admin.PREFIX}/jobs/{inner(job_id)}/reproduce"
        again = remote.ask("POST", path).json()["id"]
        first, second = _finished(remote, job_id), _finished(remote, again)
        before, after = _weights(remote, first), _weights(remote, second)
        typer.echo(f"{first}\n{second}")
        what = "adapters" if _ADAPTER in before else "models"
        if before == after:
            typer.echo(f"The {what} are equal, byte for byte.")
            return
        if _ADAPTER in before.keys() & after.keys():
            distance = _distance(*(_file(remote, model, _ADAPTER) for model in (first, second)))
        else:
            distance = f"these files: {', '.join(_differing(before, after))}"
        locks = [_lock(remote, model) for model in (first, second)]
    typer.echo(f"The {what} differ: {distance}.")
    _tell_difference(*locks)
    raise typer.Exit(1)


def _finished(remote: Remote, job_id: str) -> str:
    """The name of the model, once the job has made it; with its progress meanwhile."""
    job = follow(remote, job_id)
    if job["status"] != "succeeded":
        reason = (job.get("error") or {}).get("message") or "its events say why"
        fail(f"The job {job['id']} is {job['status']}: {reason}")
    return str(job["fine_tuned_model"])


def _file(remote: Remote, model: str, name: str) -> bytes:
    return remote.ask("GET", f"{model_path(model)}/files/{name}").content


def _weights(remote: Remote, model: str) -> dict[str, object]:
    """A model's files of weights, and what they hold by its SHA-256."""
    listed = remote.read(f"{model_path(model)}/files")["data"]
    return {f["name"]: f["sha256"] for f in listed if f["name"].endswith(".safetensors")}


def _lock(remote: Remote, model: str) -> dict[str, Any]:
    """Empty for a model from before there were locks."""
    listed = remote.read(f"{model_path(model)}/files")["data"]
    if _LOCK not in {file["name"] for file in listed}:
        return {}
    lock: dict[str, Any] = remote.read(f"{model_path(model)}/files/{_LOCK}")
    return lock


def _tell_difference(*locks: dict[str, Any]) -> None:
    before, after = (_flat(lock) for lock in locks)
    differing = _differing(before, after)
    if not differing:
        typer.echo("Their locks name the same of everything.")
        return
    table = Table("in job.lock", "then", "now")
    for name in differing:
        table.add_row(name, str(before.get(name, "")), str(after.get(name, "")))
    Console().print(table)


def _differing(before: dict[str, object], after: dict[str, object]) -> list[str]:
    return [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]


def _distance(before: bytes, after: bytes) -> str:
    from safetensors.numpy import load  # noqa: PLC0415  # numpy would cost each server 17 MB

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
