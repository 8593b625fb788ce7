"""`tune`: from a file to a job, and to its model if one waits."""

from pathlib import Path
from typing import Annotated, Any

import typer

from tunesmith.cli.files import check_lines, upload
from tunesmith.cli.jobs import watch
from tunesmith.cli.options import AsJson, DataDir, print_json
from tunesmith.cli.remote import connected
from tunesmith.dialects import openai


def tune(
    file: Annotated[Path, typer.Argument(help="Training data, JSON lines.")],
    model: Annotated[str, typer.Option("--model", "-m", help="The base model.")],
    validation: Annotated[
        Path | None, typer.Option(help="Rows that are not learned, for the validation loss.")
    ] = None,
    method: Annotated[str, typer.Option(help="supervised, or dpo for preference pairs.")] = (
        "supervised"
    ),
    epochs: Annotated[int | None, typer.Option(min=1, help="By default as the size asks.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Examples in a step.")] = None,
    learning_rate_multiplier: Annotated[
        float | None, typer.Option(help="Of the model's own learning rate.")
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Of DPO: how near to stay.")] = None,
    suffix: Annotated[str | None, typer.Option(help="A word for the model's name.")] = None,
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same model.")] = None,
    waits: Annotated[bool, typer.Option("--wait", help="Follow the job until it rests.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Upload a file and train a model on it. Ctrl-C while it waits leaves the job running."""
    for one in (file, validation):
        if one is not None:
            check_lines(one)  # both, before either is sent
    hyperparameters = {
        "n_epochs": epochs,
        "batch_size": batch_size,
        "learning_rate_multiplier": learning_rate_multiplier,
        "beta": beta,
    }
    given = {name: value for name, value in hyperparameters.items() if value is not None}
    body: dict[str, Any] = {
        "model": model,
        "method": {"type": method, method: {"hyperparameters": given}},
    }
    with connected(data_dir) as remote:
        body["training_file"] = upload(remote, file)["id"]
        if validation is not None:
            body["validation_file"] = upload(remote, validation)["id"]
        body |= {"suffix": suffix} if suffix is not None else {}
        body |= {"seed": seed} if seed is not None else {}
        job = remote.ask("POST", f"{openai.PREFIX}/fine_tuning/jobs", json=body).json()
        if not waits:
            if as_json:
                print_json(job)
            else:
                typer.echo(f"{job['id']}\nWatch it: tunesmith jobs watch {job['id']}")
            return
        done = watch(remote, job["id"], as_json=as_json)
    if not as_json:
        tuned = done["fine_tuned_model"]
        typer.echo(f"{tuned}\nAsk it: tunesmith chat {tuned}")
