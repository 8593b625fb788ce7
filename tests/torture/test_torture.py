"""The small form of `make torture`: under load, whatever is killed, nothing is lost or doubled."""

import random
from pathlib import Path

import pytest

from tests.torture.run import run

NUM_KILLS = 6


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed(tmp_path: Path) -> None:
    result = run(tmp_path, random.Random(2), NUM_KILLS, say=print)
    print(result.figures())
    assert result.violations == []
    assert result.facts.jobs
