"""Commands leave the logging and the signals of the tests' own process as they were."""

from tests.unit.cli.conftest import untouched

__all__ = ["untouched"]  # used by itself, around each test
