"""Training files here, without a server: look at them before a job does."""

import json
import subprocess
import sys
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from tunesmith.cli import checking, tokens
from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, harmless
from tunesmith.cli.reading import File, counted, files_at_hand, with_progress, written
from tunesmith.doctor.converting import Source, conversations
from tunesmith.doctor.splitting import is_held_out
from tunesmith.domain.errors import InvalidTrainingData

app = typer.Typer(help="Training files: check, mend and look at them.", no_args_is_help=True)

app.command("check")(checking.check)


@app.command("split")
def split(
    file: File,
    validation: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="The share that is held out.")
    ] = 0.1,
    seed: Annotated[int, typer.Option(help="Another one holds out other rows.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A folder for both files; by default the file's own.")
    ] = None,
) -> None:
    """Make a training file and a validation file of one, with no question in both.

    Rows that ask the same go to the same side, by a digest of what is asked; so the share is
    met on average, and the same seed gives the same files.
    """
    folder = out or file.parent
    targets = [folder / f"{file.stem}.{name}{file.suffix}" for name in ("train", "validation")]
    counts = [0, 0]
    with files_at_hand(), written(targets) as files, file.open("rb") as source:
        for raw in with_progress(source, "splitting"):
            if raw.strip():
                side = is_held_out(raw, validation, seed)
                files[side].write(raw if raw.endswith(b"\n") else raw + b"\n")
                counts[side] += 1
    for target, count in zip(targets, counts, strict=True):
        typer.echo(f"{target}: {counted(count, 'row')}")


@app.command("convert")
def convert(
    file: Annotated[Path, typer.Argument(help="CSV, or JSON lines.")],
    out: Annotated[Path, typer.Argument(help="The file of conversations to be made.")],
    source: Annotated[
        Source, typer.Option("--from", help="Its format; by default as its rows look.")
    ] = Source.AUTO,
    asked: Annotated[
        str | None, typer.Option(help="The column or key of what the user says.")
    ] = None,
    answered: Annotated[
        str | None, typer.Option(help="The column or key of what the assistant says.")
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="A system message for rows that have none.")
    ] = None,
) -> None:
    """Make conversations (`{"messages": […]}` a line) of CSV, prompts, Alpaca or ShareGPT."""
    if (asked is None) != (answered is None):
        raise typer.BadParameter("--asked and --answered go together.")
    columns = (asked, answered) if asked is not None and answered is not None else None
    if source is Source.AUTO and file.suffix.lower() == ".csv":
        source = Source.CSV
    count = 0
    with files_at_hand(), written([out]) as [target], file.open("rb") as bytes_in:
        lines = (raw.decode("utf-8-sig") for raw in with_progress(bytes_in, "converting"))
        try:
            for row in conversations(lines, source, columns=columns, system=system):
                target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                count += 1
        except InvalidTrainingData as error:
            fail(f"{file}, line {error.line}: {error.message}")
        except UnicodeDecodeError:
            fail(f"{file} is not UTF-8.")
    typer.echo(f"{out}: {counted(count, 'row')}. Check them: tunesmith data check {out}")


@app.command("preview")
def preview(
    file: File,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A base model of the catalogue, or its folder.")
    ],
    row: Annotated[int, typer.Option(min=1, help="Which row, from 1.")] = 1,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Show a row as a base model sees it, and what of it is learned.

    What carries loss is in green, and between ⟦ and ⟧.
    """
    found = tokens.located(model, data_dir)
    with files_at_hand(), file.open("rb") as source:
        lines = (line for line, raw in enumerate(source, start=1) if raw.strip())
        line = next(islice(lines, row - 1, None), None)
    if line is None:
        fail(f"{file} has fewer than {row} rows.")
    folder, limit = found.arguments
    task = (folder, str(file), limit, str(line), "1")
    command = [sys.executable, "-m", "tunesmith.compute.preview", *task]
    done = subprocess.run(command, capture_output=True)
    if done.returncode:
        fail((done.stderr.decode().strip().splitlines() or ["The tokenizer broke off."])[-1])
    [seen] = json.loads(done.stdout)["rows"]
    if seen["refused"]:
        fail(f"Line {line}: {seen['refused']}")
    if as_json:
        print_json(seen["texts"])
        return
    for text in seen["texts"]:
        _show_text(text)


def _show_text(text: dict[str, Any]) -> None:
    shown = Text()
    for is_learned, pieces in groupby(text["pieces"], key=lambda piece: piece[2]):
        said = harmless("".join(piece for piece, *_ in pieces))
        shown.append(f"⟦{said}⟧" if is_learned else said, "bold green" if is_learned else "")
    console = Console()
    console.print(shown, soft_wrap=True)
    console.print(
        f"{text['num_tokens']} tokens, {text['num_trained']} of them learned.", style="dim"
    )
    hidden = text["num_tokens"] - sum(count for _, count, _ in text["pieces"])
    if hidden:
        console.print(f"{hidden} of them are not shown.", style="dim")
    if text["num_cut"]:
        console.print(f"{text['num_cut']} more are beyond the model's limit.", style="yellow")
