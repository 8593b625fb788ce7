"""Training files here, without a server: look at them before a job does."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tunesmith.doctor.report import Report
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.rules import Severity

app = typer.Typer(help="Training files: check, mend and look at them.", no_args_is_help=True)

_LINES_SHOWN = 5  # of each rule, on a terminal
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTICE: "cyan"}

File = Annotated[Path, typer.Argument(help="JSON lines: one example a line.")]


@app.callback()
def _group() -> None:
    """Keeps `data` a group while it has one command."""


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
