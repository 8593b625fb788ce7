"""The agent on a machine that trains: lease, carry out, again; leave in good order."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import structlog

from tunesmith.domain.assignments import Registration
from tunesmith.domain.errors import Unavailable
from tunesmith.domain.jobs import Task
from tunesmith.worker.answering import Answering
from tunesmith.worker.attempt import Attempts
from tunesmith.worker.client import Client, until_reachable
from tunesmith.worker.placing import Hosts
from tunesmith.worker.ports import Launcher
from tunesmith.worker.prepare import Workshop

log = structlog.get_logger()

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSettings:
    name: str
    version: str
    work_dir: Path
    max_hosts: int
    checkpoint_seconds: float
    max_offline_seconds: float


def work(
    client: Client, launcher: Launcher, settings: WorkerSettings, is_leaving: threading.Event
) -> None:
    """Until `is_leaving` is set; an open run then stops at a checkpoint, and its job is released.

    Raises `Unauthenticated` for a wrong key, `StaleAttempt` where another worker took the name.
    """
    registration = Registration(
        name=settings.name,
        incarnation=uuid4(),
        version=settings.version,
        devices=launcher.devices(),
    )
    until_reachable(lambda: client.register(registration), is_leaving.is_set, "registration")
    workshop = Workshop(client, settings.work_dir)
    answering = Answering(client, settings.name, workshop)
    hosts = Hosts(launcher, settings.max_hosts, answering.tell)
    attempts = Attempts(
        client,
        hosts,
        workshop,
        checkpoint_seconds=settings.checkpoint_seconds,
        max_offline_seconds=settings.max_offline_seconds,
        is_leaving=is_leaving,
    )
    answering.start(hosts)
    try:
        with ThreadPoolExecutor(1, "check data") as pool:
            # What is wrong with a job's data is told while another job trains, for days perhaps.
            checking = pool.submit(
                _carry_out, Task.VALIDATE, client, registration, attempts, is_leaving
            )
            checking.add_done_callback(lambda _: is_leaving.set())
            try:
                _carry_out(Task.TRAIN, client, registration, attempts, is_leaving)
            finally:
                is_leaving.set()
            checking.result()
    finally:
        answering.close()
        hosts.close()


def _carry_out(
    task: Task,
    client: Client,
    registration: Registration,
    attempts: Attempts,
    is_leaving: threading.Event,
) -> None:
    while not is_leaving.is_set():
        try:
            assignment = client.lease(registration, task)
        except Unavailable as error:
            log.warning("no assignment", task=task.value, reason=error.message)
            assignment = None
        if assignment is None:
            is_leaving.wait(POLL_SECONDS)
        else:
            attempts.carry_out(assignment)
