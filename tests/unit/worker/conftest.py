"""A fake server, and a reporter that does not take its time."""

import pytest

from tests.unit.worker.fakes import FakeClient
from tunesmith.worker import reporter, run


@pytest.fixture
def client() -> FakeClient:
    return FakeClient()


@pytest.fixture(autouse=True)
def in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reporter, "FLUSH_SECONDS", 0.005)
    monkeypatch.setattr(reporter, "_RETRY_SECONDS", 0.005)
    monkeypatch.setattr(run, "_LOOK_SECONDS", 0.01)
