"""An examination as a process: `python -m tunesmith.doctor check|mend FILE [VALIDATION]`.

To standard output go, of `check`, the report as JSON, and of `mend` frames (`frames.py`).
"""

import json
import os
import sys
from pathlib import Path

from tunesmith.doctor import frames, mending
from tunesmith.doctor.examination import Examination, examine, held_by
from tunesmith.doctor.leaks import Held
from tunesmith.domain.datasets import read_lines

_NICENESS = 10  # whoever serves and trains goes first


def main(task: str, path: Path, against: Path | None) -> None:
    os.nice(_NICENESS)
    held = None if against is None else _held(against)
    if task == "check":
        with path.open("rb") as file:
            report = examine(read_lines(file), held=held)
        sys.stdout.write(json.dumps(report.as_json()))
    else:
        _mend(path, held)


def _held(path: Path) -> Held:
    with path.open("rb") as file:
        return held_by(read_lines(file))


def _mend(path: Path, held: Held | None) -> None:
    out = frames.Writer(sys.stdout.buffer)
    with path.open("rb") as file:
        lines = read_lines(file)
        changes = mending.mend(lines, Examination(held=held).check, out.new, out.difference)
    out.end(changes)


main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
