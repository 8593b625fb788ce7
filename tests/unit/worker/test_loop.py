import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.factories import assignment, conversation, json_lines
from tests.unit.worker.fakes import CPU, FakeClient, FakeLauncher
from tunesmith.domain import disk
from tunesmith.domain.assignments import (
    Assignment,
    AttemptReleased,
    Registration,
    Room,
    Validated,
)
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import StaleAttempt, Unauthenticated, Unavailable
from tunesmith.domain.jobs import Task
from tunesmith.worker import loop
from tunesmith.worker.attempt import Attempts
from tunesmith.worker.loop import Waking, WorkerSettings, work
from tunesmith.worker.placing import Hosts, NoRoom


class LeasingClient(FakeClient):
    """Leases what the test says, each to who asks for such a task, and calls it a day after that.

    An error is for who asks for training.
    """

    def __init__(self, *leased: Assignment | Exception) -> None:
        super().__init__()
        self.leased = list(leased)
        self.is_leaving = threading.Event()
        self.registered: list[Registration] = []
        self.rooms: list[Room] = []  # as told by who asks for training
        self._lock = threading.Lock()

    def register(self, registration: Registration) -> None:
        self._check()
        self.registered.append(registration)

    def lease(self, registration: Registration, task: Task) -> Assignment | None:
        assert registration.incarnation == self.registered[-1].incarnation
        with self._lock:
            if task is Task.TRAIN:
                self.rooms.append(registration.room)
            if not self.leased:
                self.is_leaving.set()
                return None
            first = self.leased[0]
            wanted = first.task if isinstance(first, Assignment) else Task.TRAIN
            if wanted is not task:
                return None
            del self.leased[0]
        if isinstance(first, Exception):
            raise first
        return first


Start = Callable[[LeasingClient], None]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    monkeypatch.setattr(loop, "POLL_SECONDS", 0.0)
    settings = WorkerSettings(
        name="box",
        version="0",
        work_dir=tmp_path / "work",
        max_hosts=1,
        max_runs=2,
        min_free_bytes=0,
        checkpoint_seconds=60.0,
        max_offline_seconds=10.0,
        drain_seconds=60.0,
    )

    def start(client: LeasingClient) -> None:
        work(cast(Any, client), FakeLauncher(), settings, client.is_leaving)

    return start


def test_a_worker_registers_and_does_what_it_leases(start: Start) -> None:
    client = LeasingClient()
    data = client.put(b"".join(json_lines(*[conversation()] * 10)))
    first = assignment(Task.VALIDATE, training_file=data)
    client.leased = [first]
    start(client)
    (registration,) = client.registered
    assert (registration.name, registration.devices) == ("box", (CPU,))
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


def test_data_is_checked_while_another_job_trains(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    data_was_checked = threading.Event()

    def carry_out(self: Attempts, given: Assignment) -> None:
        if given.task is Task.VALIDATE:
            data_was_checked.set()
        else:
            assert data_was_checked.wait(10)

    monkeypatch.setattr(Attempts, "carry_out", carry_out)
    start(LeasingClient(assignment(Task.TRAIN), assignment(Task.VALIDATE)))
    assert data_was_checked.is_set()


class Together:
    """Attempts that end only when so many are under way at once."""

    def __init__(self, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        self._barrier = threading.Barrier(count)
        self._lock = threading.Lock()
        self._num_now = 0
        self.most = 0
        monkeypatch.setattr(Attempts, "carry_out", lambda _, given: self._carry_out())

    def _carry_out(self) -> None:
        with self._lock:
            self._num_now += 1
            self.most = max(self.most, self._num_now)
        self._barrier.wait(10)
        with self._lock:
            self._num_now -= 1


def test_trainings_are_carried_out_side_by_side(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = Together(2, monkeypatch)
    start(LeasingClient(*[assignment(Task.TRAIN) for _ in range(4)]))
    assert together.most == 2  # the setting


def test_a_worker_says_what_it_has_room_for(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    Together(2, monkeypatch)
    client = LeasingClient(assignment(Task.TRAIN), assignment(Task.TRAIN))
    start(client)
    first, second = client.rooms[:2]
    assert (first.residents, first.takes_others) == ((), True)
    assert [(r.base_model, r.takes_more) for r in second.residents] == [("base", True)]
    assert not second.takes_others


def test_a_job_whose_place_was_taken_meanwhile_is_handed_back(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(self: Hosts, base: BaseModel, owner: str) -> None:
        raise NoRoom("Another base model answers.")

    monkeypatch.setattr(Hosts, "claim", no_room)
    client = LeasingClient(assignment(Task.TRAIN))
    start(client)
    assert client.reports == [AttemptReleased()]


def test_a_defect_in_an_attempt_ends_the_worker(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    def carry_out(self: Attempts, given: Assignment) -> None:
        raise AssertionError("A defect.")

    monkeypatch.setattr(Attempts, "carry_out", carry_out)
    with pytest.raises(AssertionError, match="A defect"):
        start(LeasingClient(assignment(Task.TRAIN)))


def test_a_worker_whose_disk_is_nearly_full_begins_nothing(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda folder: -1)
    client = LeasingClient(assignment(Task.TRAIN), assignment(Task.VALIDATE))
    threading.Timer(0.2, client.is_leaving.set).start()
    start(client)
    assert client.rooms == []
    assert len(client.leased) == 2


@pytest.mark.parametrize("task", list(Task))
def test_who_waits_for_something_to_do_is_woken(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "POLL_SECONDS", 600.0)
    waking = Waking()
    waiting = threading.Thread(target=waking.wait, args=(task,), daemon=True)
    waiting.start()
    waking.wake()
    waiting.join(10)
    assert not waiting.is_alive()
