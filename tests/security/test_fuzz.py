"""The fuzz targets in short, the same cases each time; `python -m fuzz` runs them for longer."""

import pytest

from fuzz.__main__ import fuzz
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_stands_its_cases(name: str) -> None:
    assert fuzz(name, 150, derandomize=True) >= 20
