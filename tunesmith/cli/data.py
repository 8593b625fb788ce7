"""Training files here, without a server: look at them before a job does."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby, islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tunesmith.cli.admin import ask
from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.reading import with_progress, written
from tunesmith.doctor.converting import Source, conversations
from tunesmith.doctor.report import Report
from tunesmith.doctor.splitting import is_held_out
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.rules import Severity

app = typer.Typer(help="Training files: check, mend and look at them.", no_args_is_help=True)

_NO_LIMIT = 1 << 30
_LINES_SHOWN = 5  # of each rule, on a terminal
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTICE: "cyan"}

File = Annotated[Path, typer.Argument(help="JSON lines: one example a line.")]


@app.command("check")
def check(
    file: File,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", help="Write a mended version here, and its diff beside it."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="A validation file, in which no row should be known."),
    ] = None,
    method: Annotated[
        Method | None, typer.Option("--method", help="As of the job; else the first row tells.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
) -> None:
    """Examine a training file, line by line.

    Ends with 0 where a job would take the file (and with --fix: its mended version), with 1 where
    it would not, and with 2 where a file cannot be read or written.
    """
    from tunesmith.cli import examining  # noqa: PLC0415  # 20 MB that no server needs

    with _files_at_hand():
        held = None if against is None else examining.held(against)
        report = examining.examined(file, method, held)
        answer = {"file": str(file), **report.as_json()}
        if not as_json:
            _tell(file, report)
        if fix is not None:
            changes = examining.mend(file, fix, method, held)
            report = examining.examined(fix, method, held)
            answer["fixed"] = {"file": str(fix), **changes, **report.as_json()}
            if not as_json:
                _tell_changes(fix, changes, report)
    if as_json:
        sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
    has_warnings = report.count(Severity.WARNING) > 0
    if not report.is_trainable or (strict and has_warnings):
        raise typer.Exit(1)


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
    with _files_at_hand(), written(targets) as files, file.open("rb") as source:
        for raw in with_progress(source, "splitting"):
            if raw.strip():
                side = is_held_out(raw, validation, seed)
                files[side].write(raw if raw.endswith(b"\n") else raw + b"\n")
                counts[side] += 1
    for target, count in zip(targets, counts, strict=True):
        typer.echo(f"{target}: {_counted(count, 'row')}")


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
    with _files_at_hand(), written([out]) as [target], file.open("rb") as bytes_in:
        lines = (raw.decode("utf-8-sig") for raw in with_progress(bytes_in, "converting"))
        try:
            for row in conversations(lines, source, columns=columns, system=system):
                target.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
                count += 1
        except InvalidTrainingData as error:
            fail(f"{file}, line {error.line}: {error.message}")
        except UnicodeDecodeError:
            fail(f"{file} is not UTF-8.")
    typer.echo(f"{out}: {_counted(count, 'row')}. Check them: tunesmith data check {out}")


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
    folder, limit = _model_folder(model, data_dir)
    with _files_at_hand(), file.open("rb") as source:
        lines = (line for line, raw in enumerate(source, start=1) if raw.strip())
        line = next(islice(lines, row - 1, None), None)
    if line is None:
        fail(f"{file} has fewer than {row} rows.")
    task = (folder, str(file), str(limit), str(line), "1")
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


def _model_folder(model: str, data_dir: Path | None) -> tuple[str, int]:
    """And how many tokens of a row are kept."""
    if Path(model).is_dir():
        return model, _NO_LIMIT
    for known in ask(data_dir, "GET", "/base-models"):
        if model in (known["name"], *known["aliases"]):
            return known["folder"], known["context_tokens"]
    fail(f"{model!r} is no folder and no base model; `tunesmith models list` shows them.")


def _show_text(text: dict[str, Any]) -> None:
    shown = Text()
    for is_learned, pieces in groupby(text["pieces"], key=lambda piece: piece[2]):
        said = "".join(piece for piece, *_ in pieces)
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


@contextmanager
def _files_at_hand() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        typer.secho(f"{error.filename}: {error.strerror}.", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None


def _tell(path: Path, report: Report) -> None:
    console = Console()
    table = Table("line", "rule", "what to do", box=None, pad_edge=False)
    told = dict.fromkeys(report.counts, 0)
    for finding in report.shown:
        told[finding.rule] += 1
        if told[finding.rule] <= _LINES_SHOWN:
            line = "" if finding.line is None else str(finding.line)
            place = "" if finding.path == "$" else f" [dim]{escape(finding.path)}[/dim]"
            colour = _COLOURS[finding.severity]
            rule = f"[{colour}]{finding.rule}[/{colour}]"
            table.add_row(line, rule, escape(finding.message) + place)
    for rule, number in report.counts.items():
        if number > told[rule] or number > _LINES_SHOWN:
            table.add_row("…", rule, f"{number - _LINES_SHOWN:,} more of this rule")
    if table.row_count:
        console.print(table)
    console.print(_summary(path, report), highlight=False)


def _summary(path: Path, report: Report) -> str:
    counts = ", ".join(_counted(report.count(each), each) for each in Severity)
    fixable = f"; --fix mends {report.num_fixable:,} of them" if report.num_fixable else ""
    return f"{escape(str(path))}: {_counted(report.num_examples, 'example')}, {counts}{fixable}."


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}" if number else f"no {what}s"


def _tell_changes(target: Path, changes: dict[str, object], report: Report) -> None:
    typer.echo(
        f"Mended: {changes['lines_changed']} lines changed, {changes['lines_dropped']} dropped; "
        f"the difference is in {changes['diff']}."
    )
    Console().print(_summary(target, report), highlight=False)
