"""Base models, the hardware that they are tuned on and what that takes, for the operator."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from huggingface_hub import snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, HFValidationError

from tunesmith.cli.admin import ask
from tunesmith.cli.files import fetch
from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, Table
from tunesmith.cli.remote import connected, model_path
from tunesmith.dialects import admin as dialect
from tunesmith.dialects import openai
from tunesmith.domain.catalog import DEFAULT_LEARNING_RATE, KnownModel, Quantization
from tunesmith.domain.errors import TunesmithError
from tunesmith.services import known_models, weights

models = typer.Typer(help="The base-model catalogue.", no_args_is_help=True)

_WEIGHT_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_COPIES = ["original/*", "consolidated*"]  # the same weights once more, for other programs


@models.command("add")
def add_model(
    name: Annotated[
        str, typer.Argument(help="What programs will call it; of a known model, its name.")
    ],
    source: Annotated[
        str | None,
        typer.Option("--from", help="A model folder, or a Hugging Face id such as org/name."),
    ] = None,
    known_as: Annotated[
        str | None, typer.Option("--as", help="Which known model it is, if NAME does not say so.")
    ] = None,
    alias: Annotated[
        list[str] | None, typer.Option("--alias", help="A further name; may be repeated.")
    ] = None,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Of the Hugging Face id.")
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(help="What a learning-rate multiplier of 1 means.")
    ] = DEFAULT_LEARNING_RATE,
    quantize: Annotated[
        Quantization | None,
        typer.Option(help="Hold the weights in 4 bits: on GPUs, with tunesmith[quantized]."),
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Offer a decoder model for tuning and answering. Safetensors only; no code of its own.

    A model that `tunesmith models known` lists needs no --from, and brings its other names along.
    """
    known = _known(name, known_as)
    if source is None:
        if known is None:
            fail(f"{name!r} is no known model (`tunesmith models known`); say where it is: --from.")
        source = known.hub_id
    folder, origin, hub_id = _obtain(source, revision)
    names = [*(alias or ()), *(known_models.names_of(known) if known else ())]
    try:
        entry = weights.describe(
            folder,
            name=name,
            source=origin,
            aliases=tuple(n for n in dict.fromkeys(names) if n != name),
            learning_rate=learning_rate,
            hub_id=hub_id,
            known=known,
            quantization=quantize,
            now=datetime.now(UTC),
        )
    except TunesmithError as error:
        fail(error.message)
    body = dialect.translate.base_model(entry).model_dump()
    ask(data_dir, "PUT", "/base-models", body)
    typer.echo(f"{name}: {entry.num_parameters:,} parameters, {entry.context_tokens:,} tokens.")


@models.command("list")
def list_models(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the catalogue, and what has become of each model's files since it was added."""
    found = ask(data_dir, "GET", "/base-models")
    if as_json:
        print_json(found)
        return
    table = Table("name", "aliases", "parameters", "context", "licence", "from", "weights")
    for model in found:
        table.add_row(
            model["name"],
            " ".join(model["aliases"]),
            f"{model['num_parameters']:,}",
            f"{model['context_tokens']:,}",
            model["licence"] or "",
            model["source"],
            model["weights"],
        )
    Console().print(table)


@models.command("known")
def list_known_models(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the models that can be added by name, and those that have been."""
    found = ask(data_dir, "GET", "/known-models")
    if as_json:
        print_json(found)
        return
    table = Table("name", "size", "context", "licence", "from", "added as")
    for known in found:
        table.add_row(
            known["name"],
            known["size"],
            f"{known['context_tokens']:,}",
            known["licence"] + (" (gated)" if known["is_gated"] else ""),
            known["hub_id"],
            " ".join(known["enabled_as"]),
        )
    Console().print(table)


@models.command("tuned")
def list_tuned_models(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show the models that came of jobs, and checkpoints that answer, of a running server."""
    with connected(data_dir) as remote:
        listed = remote.read(f"{openai.PREFIX}/models")["data"]
    tuned = [model for model in listed if model["id"].startswith("ft:")]
    if as_json:
        print_json(tuned)
        return
    for model in tuned:
        typer.echo(model["id"])


@models.command("show")
def show_model(
    name: Annotated[str, typer.Argument(help="A base model or a tuned one, by any name.")],
    data_dir: DataDir = None,
) -> None:
    """Show what a running server knows of a model, as JSON: of a tuned one its files, too."""
    with connected(data_dir) as remote:
        model = remote.read(model_path(name))
        if model["id"].startswith("ft:"):
            model["files"] = remote.read(f"{model_path(name)}/files")["data"]
    print_json(model)


@models.command("download")
def download_model(
    name: Annotated[str, typer.Argument(help="A tuned model or a checkpoint.")],
    folder: Annotated[Path, typer.Argument(help="Made, if it is not there.")],
    data_dir: DataDir = None,
) -> None:
    """Fetch a tuned model's weights: a folder that PEFT loads."""
    with connected(data_dir) as remote:
        listed = remote.read(f"{model_path(name)}/files")["data"]
        folder.mkdir(parents=True, exist_ok=True)
        for file in listed:
            fetch(remote, f"{model_path(name)}/files/{file['name']}", folder / file["name"])
    typer.echo(folder)


@models.command("rm")
def remove_model(
    name: Annotated[str, typer.Argument(help="A base model, or a tuned one.")],
    data_dir: DataDir = None,
) -> None:
    """Take a base model out of the catalogue, or delete a tuned one.

    A base model's weights stay where they are.
    """
    if not name.startswith("ft:"):
        ask(data_dir, "DELETE", f"/base-models/{name}")
        return
    with connected(data_dir) as remote:
        remote.ask("DELETE", model_path(name))


def list_hardware(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Show what the workers of the last minutes compute with, and what an hour of it costs."""
    listed = ask(data_dir, "GET", "/hardware")
    if as_json:
        print_json(listed)
        return
    table = Table("id", "name", "GPUs", "memory of each", "dollars per hour")
    for found in listed:
        gigabytes = round(found["gpu_memory_bytes"] / 2**30)
        table.add_row(
            found["id"],
            found["name"],
            str(found["num_gpus"]),
            f"{gigabytes} GB" if found["num_gpus"] else "",
            f"{found['cost_per_hour']:g}",
        )
    Console().print(table)


def estimate(
    model: Annotated[str, typer.Argument(help="The base model, by any of its names.")],
    examples: Annotated[int, typer.Option("--examples", help="How many there are to learn from.")],
    epochs: Annotated[int | None, typer.Option("--epochs", help="By default as many as auto.")] = (
        None
    ),
    tokens: Annotated[
        float | None,
        typer.Option("--tokens", help="Mean length of an example; by default as in past jobs."),
    ] = None,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Say how long a job would take and what it would cost, without starting anything."""
    body = {
        "base_model": model,
        "num_examples": examples,
        "num_epochs": epochs,
        "tokens_per_example": tokens,
    }
    made = ask(data_dir, "POST", "/estimates", body)
    if as_json:
        print_json(made)
        return
    basis = "as measured here" if made["is_measured"] else "by calculation"
    typer.echo(
        f"{made['minutes']} min, {made['cost']:.2f} dollars: on {made['device']}, "
        f"{made['tokens_per_second']:,.0f} tokens per second {basis}, "
        f"{made['tokens_per_example']:,.0f} tokens per example."
    )


def _known(name: str, known_as: str | None) -> KnownModel | None:
    known = known_models.find_known(known_as or name)
    if known_as is not None and known is None:
        fail(f"{known_as!r} is no known model; `tunesmith models known` lists them.")
    return known


def _obtain(source: str, revision: str | None) -> tuple[Path, str, str | None]:
    """A source's folder, downloaded if need be, where it came from exactly, and the hub's id."""
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder.resolve(), str(folder.resolve()), None
    try:
        fetched = snapshot_download(
            source, revision=revision, allow_patterns=_WEIGHT_FILES, ignore_patterns=_COPIES
        )
    except GatedRepoError as error:
        fail(f"{source} is gated: ask its makers for access, then set HF_TOKEN. ({error})")
    except (HFValidationError, HfHubHTTPError, OSError) as error:
        fail(f"{source!r} is no folder, and could not be had from Hugging Face: {error}")
    return Path(fetched), f"{source}@{Path(fetched).name}", source
