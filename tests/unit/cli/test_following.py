"""What is shown of a job that is watched, on terminals of several widths."""

import io

import pytest
from rich.console import Console

from tunesmith.cli.following import Watched, _picture

JOB = {"id": "ftjob-1", "model": "tiny", "status": "running", "fine_tuned_model": None}
STEP = {"step": 40, "total_steps": 90, "train_loss": 0.5, "tokens": 10, "seconds": 1}


@pytest.mark.parametrize("width", [40, 96])
def test_bar_and_figures_have_lines_of_their_own(width: int) -> None:
    shown = io.StringIO()
    points = [(step, 5 / step) for step in range(1, 41)]
    watched = Watched(JOB, training=points, newest=STEP)
    Console(file=shown, width=width, force_terminal=True, color_system=None).print(
        _picture(watched, width)
    )
    lines = [line.rstrip() for line in shown.getvalue().splitlines()]
    assert all(len(line) <= width for line in lines)
    bar = next(number for number, line in enumerate(lines) if "\u2501" in line)
    assert set(lines[bar]) <= {"\u2501", "\u2578", "\u257a"}
    assert lines[bar + 1].startswith("step 40/90  loss 0.500")
