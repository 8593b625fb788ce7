"""What `data check` does with files: the doctor's rules, with a bar."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tunesmith.doctor import mending
from tunesmith.doctor.examination import Examination, held_by, whole_lines
from tunesmith.doctor.leaks import Held
from tunesmith.doctor.report import Report
from tunesmith.domain.datasets import read_lines
from tunesmith.domain.hyperparameters import Method


def held(path: Path) -> Held:
    with path.open("rb") as file:
        return held_by(_with_progress(file, "reading the validation file"))


def examined(path: Path, method: Method | None, held: Held | None) -> Report:
    report, examination = Report(), Examination(method, held)
    with path.open("rb") as file:
        for raw, line in whole_lines(_with_progress(file, "checking")):
            for finding in examination.check(raw, line):
                report.add(finding)
    for finding in examination.finish():
        report.add(finding)
    report.num_examples = examination.num_examples
    return report


def mend(path: Path, target: Path, method: Method | None, held: Held | None) -> dict[str, object]:
    """Both files are written aside, so neither is ever there in part."""
    if target.exists() and target.samefile(path):
        raise typer.BadParameter("Name another file than the one that is checked.")
    diff = target.with_name(target.name + ".diff")
    aside = [each.with_name(each.name + ".part") for each in (target, diff)]
    with path.open("rb") as file, aside[0].open("wb") as new, aside[1].open("wb") as difference:
        difference.write(mending.header(path.name, target.name))
        lines = _with_progress(file, "mending")
        changes = mending.mend(lines, Examination(method, held).check, new.write, difference.write)
        for written in (new, difference):
            written.flush()
            os.fsync(written.fileno())
    for part, whole in zip(aside, (target, diff), strict=True):
        part.replace(whole)
    return {
        "diff": str(diff),
        "lines_changed": changes.lines_changed,
        "lines_dropped": changes.lines_dropped,
    }


def _with_progress(file: BinaryIO, what: str) -> Iterable[bytes]:
    """Its lines, with a bar while they are read."""
    total = os.fstat(file.fileno()).st_size
    share = TextColumn("{task.percentage:>3.0f}%")
    columns = (TextColumn("{task.description}"), BarColumn(), share, TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total or None)
        for number, raw in enumerate(read_lines(file)):
            yield raw
            if number % 100 == 0:
                bar.update(task, completed=file.tell())
