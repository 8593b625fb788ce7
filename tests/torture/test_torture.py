"""The small form of `make torture`: under load, whatever is killed, nothing is lost or doubled."""

import subprocess
import sys

import pytest

NUM_KILLS = 6


@pytest.mark.slow
def test_nothing_is_lost_whatever_is_killed() -> None:
    """As a program: what was connected to a server that is killed is nobody's to close."""
    command = [sys.executable, "-m", "tests.torture", "--rounds", str(NUM_KILLS), "--seed", "2"]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
