"""What `data check` does with files: the doctor's rules, with a bar."""

from pathlib import Path

import typer

from tunesmith.cli.reading import with_progress, written
from tunesmith.doctor import mending
from tunesmith.doctor.examination import Examination, examine, held_by
from tunesmith.doctor.leaks import Held
from tunesmith.doctor.report import Report
from tunesmith.domain.hyperparameters import Method


def held(path: Path) -> Held:
    with path.open("rb") as file:
        return held_by(with_progress(file, "reading the validation file"))


def examined(path: Path, method: Method | None, held: Held | None) -> Report:
    with path.open("rb") as file:
        return examine(with_progress(file, "checking"), method, held)


def mend(path: Path, target: Path, method: Method | None, held: Held | None) -> dict[str, object]:
    """Both files are written aside, so neither is ever there in part."""
    if target.exists() and target.samefile(path):
        raise typer.BadParameter("Name another file than the one that is checked.")
    diff = target.with_name(target.name + ".diff")
    with path.open("rb") as file, written([target, diff]) as [new, difference]:
        difference.write(mending.header(path.name, target.name))
        lines = with_progress(file, "mending")
        changes = mending.mend(lines, Examination(method, held).check, new.write, difference.write)
    return {
        "diff": str(diff),
        "lines_changed": changes.lines_changed,
        "lines_dropped": changes.lines_dropped,
    }
