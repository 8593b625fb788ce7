"""`data check`: what is wrong with a training file, and what a base model would make of it."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from tunesmith.cli import tokens
from tunesmith.cli.options import DataDir
from tunesmith.cli.output import Console, Table, harmless
from tunesmith.cli.reading import File, counted, files_at_hand
from tunesmith.doctor.report import Report
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.rules import Rule, Severity

_LINES_SHOWN = 5  # of each rule, on a terminal
_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.NOTICE: "cyan"}
_OF_TOKENS = (Rule.NOT_LEARNABLE, Rule.TRUNCATED)


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
    model: Annotated[
        str | None,
        typer.Option(
            "--model", "-m", help="A base model, or its folder: count the tokens it would learn."
        ),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Of the job, for its time and price; else auto.")
    ] = None,
    method: Annotated[
        Method | None, typer.Option("--method", help="As of the job; else the first row tells.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Warnings count as errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Examine a training file, line by line.

    Ends with 0 where a job would take the file (and with --fix: its mended version), with 1 where
    it would not, and with 2 where a file cannot be read or written.
    """
    from tunesmith.cli import examining  # noqa: PLC0415  # 20 MB that no server needs

    said = Console()
    said.quiet = as_json
    with files_at_hand():
        held = None if against is None else examining.held(against)
        report = examining.examined(file, method, held)
        counts = _count(report, file, model, epochs, data_dir) if fix is None else None
        answer = {"file": str(file), **report.as_json()}
        _tell_findings(said, report)
        _tell_summary(said, file, report)
        if fix is not None:
            changes = examining.mend(file, fix, method, held)
            report = examining.examined(fix, method, held)
            counts = _count(report, fix, model, epochs, data_dir)
            answer["fixed"] = {"file": str(fix), **changes, **report.as_json()}
            _tell_changes(said, changes)
            _tell_findings(said, report, _OF_TOKENS)
            _tell_summary(said, fix, report)
    if counts is not None:
        answer["tokens"] = counts
        tokens.tell(said, counts)
    elif model is not None:
        said.print("Tokens are counted once no row has an error.", style="dim")
    if as_json:
        sys.stdout.write(json.dumps(answer, ensure_ascii=False, indent=2) + "\n")
    has_warnings = report.count(Severity.WARNING) > 0
    if not report.is_trainable or (strict and has_warnings):
        raise typer.Exit(1)


def _count(
    report: Report, path: Path, model: str | None, epochs: int | None, data_dir: Path | None
) -> dict[str, Any] | None:
    """What the model makes of it; rows that lose by it are added to the report."""
    if model is None or not report.is_trainable:
        return None
    counts = tokens.counted(path, model, epochs, data_dir)
    for finding in tokens.findings(counts):
        report.add(finding)
    for rule, name in zip(_OF_TOKENS, ("refused", "losing"), strict=True):
        if number := counts[f"num_{name}"]:
            report.counts[rule] = number  # also those that are not listed
        del counts[name]
    return counts


def _tell_findings(console: Console, report: Report, rules: tuple[Rule, ...] = ()) -> None:
    table = Table("line", "rule", "what to do", pad_edge=False)
    told = dict.fromkeys(report.counts, 0)
    for finding in report.shown:
        if rules and finding.rule not in rules:
            continue
        told[finding.rule] += 1
        if told[finding.rule] <= _LINES_SHOWN:
            line = "" if finding.line is None else str(finding.line)
            place = "" if finding.path == "$" else f" {finding.path}"
            advice = Text.assemble(harmless(finding.message), (harmless(place), "dim"))
            table.add_row(line, Text(finding.rule, _COLOURS[finding.severity]), advice)
    for rule_id, number in report.counts.items():
        if told[rule_id] and number > _LINES_SHOWN:
            table.add_row("…", rule_id, f"{number - _LINES_SHOWN:,} more of this rule")
    if table.row_count:
        console.print(table)


def _tell_summary(console: Console, path: Path, report: Report) -> None:
    counts = ", ".join(counted(report.count(each), each) for each in Severity)
    fixable = f"; --fix mends {report.num_fixable:,} of them" if report.num_fixable else ""
    examples = counted(report.num_examples, "example")
    console.print(f"{path}: {examples}, {counts}{fixable}.", soft_wrap=True)


def _tell_changes(console: Console, changes: dict[str, Any]) -> None:
    console.print(
        f"Mended: {counted(changes['lines_changed'], 'line')} changed, "
        f"{changes['lines_dropped']} dropped; "
        f"the difference is in {changes['diff']}.",
        soft_wrap=True,
    )
