"""The agent on a machine that trains: lease, carry out, again; leave in good order."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import structlog

from tunesmith.domain.assignments import (
    AskAgain,
    Assignment,
    JobsWait,
    News,
    Registration,
    Room,
)
from tunesmith.domain.errors import Unavailable
from tunesmith.domain.jobs import Task
from tunesmith.worker.answering import Answering
from tunesmith.worker.attempt import Attempts
from tunesmith.worker.client import Client, until_reachable
from tunesmith.worker.leaving import end_in_time
from tunesmith.worker.placing import Hosts, NoRoom
from tunesmith.worker.ports import Launcher
from tunesmith.worker.prepare import Workshop

log = structlog.get_logger()

POLL_SECONDS = 1.0  # where nothing tells earlier that there may be something to do


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    name: str
    version: str
    work_dir: Path
    max_hosts: int
    max_runs: int
    min_free_bytes: int
    checkpoint_seconds: float
    max_offline_seconds: float
    drain_seconds: float


class Waking:
    """Wakes who waits for something to do: to begin a training, or to check data."""

    def __init__(self) -> None:
        self._events = {task: threading.Event() for task in Task}

    def wake(self, *tasks: Task) -> None:
        """Those who do one of these; all of them where none is named."""
        for task in tasks or Task:
            self._events[task].set()

    def wait(self, task: Task) -> None:
        """Who was woken since its last wait goes on at once."""
        self._events[task].wait(POLL_SECONDS)
        self._events[task].clear()


def work(
    client: Client, launcher: Launcher, settings: WorkerSettings, is_leaving: threading.Event
) -> None:
    """Until `is_leaving` is set; open runs then stop at checkpoints, and their jobs are released.

    Answers come to their end. Where all that takes longer than it may, the process is ended.
    Raises `Unauthenticated` for a wrong key, `StaleAttempt` where another worker took the name.
    """
    registration = Registration(
        name=settings.name,
        incarnation=uuid4(),
        version=settings.version,
        devices=launcher.devices(),
    )
    until_reachable(lambda: client.register(registration), is_leaving.is_set, "registration")
    workshop = Workshop(
        client, settings.work_dir, name=settings.name, min_free_bytes=settings.min_free_bytes
    )
    waking = Waking()
    answering = Answering(client, settings.name, workshop, is_leaving)
    hosts = Hosts(launcher, settings.max_hosts, answering.tell)
    attempts = Attempts(
        client,
        hosts,
        workshop,
        checkpoint_seconds=settings.checkpoint_seconds,
        max_offline_seconds=settings.max_offline_seconds,
        is_leaving=is_leaving,
    )

    def heed(news: News) -> None:
        match news:
            case JobsWait():
                waking.wake()
            case AskAgain(ask_again=job_id):
                attempts.ask_again(job_id)

    answering.start(hosts, heed)
    is_over = threading.Event()
    threading.Thread(
        target=end_in_time,
        args=(is_leaving, is_over),
        kwargs={
            "drain_seconds": settings.drain_seconds,
            "attempts": attempts,
            "hosts": hosts,
            "wake": waking.wake,
        },
        daemon=True,
        name="leave",
    ).start()
    try:
        with ThreadPoolExecutor(1, "check data") as pool:
            # What is wrong with a job's data is told while another job trains, for days perhaps.
            checking = pool.submit(
                _check_data, client, registration, attempts, workshop, waking, is_leaving
            )
            checking.add_done_callback(lambda _: is_leaving.set())
            try:
                trainings = Trainings(
                    client, registration, attempts, hosts, workshop, settings.max_runs, waking
                )
                trainings.carry_out(is_leaving)
            finally:
                is_leaving.set()
            checking.result()
        answering.finish()
    finally:
        is_over.set()
        answering.close()
        hosts.close()


class Trainings:
    """Trainings side by side: never more than `max_runs`, and only those that there is room for."""

    def __init__(
        self,
        client: Client,
        registration: Registration,
        attempts: Attempts,
        hosts: Hosts,
        workshop: Workshop,
        max_runs: int,
        waking: Waking,
    ) -> None:
        self._client = client
        self._registration = registration
        self._attempts = attempts
        self._hosts = hosts
        self._workshop = workshop
        self._max_runs = max_runs
        self._waking = waking
        self._running: set[Future[None]] = set()

    def carry_out(self, is_leaving: threading.Event) -> None:
        """Until `is_leaving` is set and all have ended."""
        with ThreadPoolExecutor(self._max_runs, "train") as pool:
            try:
                while not is_leaving.is_set():
                    if not self._begin_another(pool):
                        self._wait()
            finally:
                is_leaving.set()
        self._drop_ended()

    def _begin_another(self, pool: ThreadPoolExecutor) -> bool:
        """Whether there was room for another training, and one to do."""
        room = self._hosts.room()
        if len(self._running) >= self._max_runs or not _has_any(room):
            return False
        if self._workshop.is_short_of_room and not self._workshop.make_room(room.residents):
            return False
        registration = replace(self._registration, room=room)
        assignment = _lease(self._client, registration, Task.TRAIN)
        if assignment is None:
            return False
        base = assignment.base_model
        try:
            self._hosts.claim(base, assignment.host_owner)
        except NoRoom:  # an answer from another base model has begun meanwhile
            self._attempts.hand_back(assignment)
            return False
        training = pool.submit(self._attempts.carry_out, assignment)
        training.add_done_callback(lambda _: self._hosts.unclaim(base, assignment.host_owner))
        training.add_done_callback(lambda _: self._waking.wake(Task.TRAIN))  # it leaves room
        self._running.add(training)
        return True

    def _wait(self) -> None:
        self._waking.wait(Task.TRAIN)
        self._drop_ended()

    def _drop_ended(self) -> None:
        for training in [training for training in self._running if training.done()]:
            self._running.remove(training)
            training.result()


def _has_any(room: Room) -> bool:
    return room.takes_others or any(resident.takes_more for resident in room.residents)


def _check_data(
    client: Client,
    registration: Registration,
    attempts: Attempts,
    workshop: Workshop,
    waking: Waking,
    is_leaving: threading.Event,
) -> None:
    while not is_leaving.is_set():
        assignment = None
        if not workshop.is_short_of_room:
            assignment = _lease(client, registration, Task.VALIDATE)
        if assignment is None:
            waking.wait(Task.VALIDATE)
        else:
            attempts.carry_out(assignment)
            waking.wake(Task.TRAIN)  # its job may be the next


def _lease(client: Client, registration: Registration, task: Task) -> Assignment | None:
    try:
        return client.lease(registration, task)
    except Unavailable as error:
        log.warning("no assignment", task=task.value, reason=error.message)
        return None
