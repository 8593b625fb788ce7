"""A worker on a machine of its own, as a real process."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.e2e.service import TUNESMITH, Service, descendants

HOST = "tunesmith.compute.host"
Worker = subprocess.Popen[bytes]


@contextmanager
def lone_worker(service: Service, work_dir: Path, name: str = "box") -> Iterator[Worker]:
    """What it says is in a log beside the server's. In the end it is killed, halted or not."""
    key = service.run("keys", "create", "--scopes", "worker").strip()
    command = [*TUNESMITH, "worker", "--server", service.url, "--name", name]
    with service.data_dir.with_name(f"worker-{name}.log").open("ab") as log:
        worker = subprocess.Popen(
            [*command, "--work-dir", str(work_dir)],
            env={**service.environment, "TUNESMITH_API_KEY": key},
            stderr=log,
        )
    try:
        yield worker
    finally:
        hosts = hosts_of(worker)
        worker.kill()
        worker.wait()
        for host in hosts:
            send(host, signal.SIGCONT)  # so that it sees its worker gone


def hosts_of(worker: Worker) -> list[int]:
    return descendants(worker.pid, HOST)


def send(pid: int, number: signal.Signals) -> None:
    """A signal to a process, which may be gone."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
