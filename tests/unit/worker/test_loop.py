import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.factories import assignment, conversation, json_lines
from tests.unit.worker.fakes import FakeClient, FakeLauncher
from tunesmith.domain.assignments import Assignment, Registration, Validated
from tunesmith.domain.errors import StaleAttempt, Unauthenticated, Unavailable
from tunesmith.domain.jobs import Task
from tunesmith.worker import loop
from tunesmith.worker.loop import WorkerSettings, work


class LeasingClient(FakeClient):
    """Leases what the test says, and calls it a day after that."""

    def __init__(self, *leased: Assignment | Exception) -> None:
        super().__init__()
        self.leased = list(leased)
        self.is_leaving = threading.Event()
        self.registered: list[Registration] = []

    def register(self, registration: Registration) -> None:
        self._check()
        self.registered.append(registration)

    def lease(self, registration: Registration) -> Assignment | None:
        assert registration == self.registered[-1]
        if not self.leased:
            self.is_leaving.set()
            return None
        given = self.leased.pop(0)
        if isinstance(given, Exception):
            raise given
        return given


Start = Callable[[LeasingClient], None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
    settings = WorkerSettings(
        name="box",
        version="0",
        work_dir=tmp_path / "work",
        max_hosts=1,
        checkpoint_seconds=60.0,
        max_offline_seconds=10.0,
    )

    def start(client: LeasingClient) -> None:
        work(cast(Any, client), FakeLauncher(), settings, client.is_leaving)

    return start


def test_a_worker_registers_and_does_one_thing_after_another(start: Start) -> None:
    client = LeasingClient()
    data = client.put(b"".join(json_lines(*[conversation()] * 10)))
    first = assignment(Task.VALIDATE, training_file=data)
    client.leased = [first]
    start(client)
    assert [registration.name for registration in client.registered] == ["box"]
    assert client.reports == [Validated(num_examples=10)]


def test_a_server_that_is_away_for_a_while_is_asked_again(start: Start) -> None:
    client = LeasingClient(Unavailable("The server cannot be reached."))
    start(client)
    assert client.leased == []


@pytest.mark.parametrize("error", [StaleAttempt("Replaced."), Unauthenticated("Wrong key.")])
def test_a_worker_that_is_not_wanted_any_more_ends(start: Start, error: Exception) -> None:
    with pytest.raises(type(error)):
        start(LeasingClient(error))


def test_each_start_is_an_incarnation_of_its_own(start: Start) -> None:
    first, second = LeasingClient(), LeasingClient()
    start(first)
    start(second)
    assert first.registered[0].incarnation != second.registered[0].incarnation
