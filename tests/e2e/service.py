"""A real service for tests: real processes, which can really be killed."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
from openai.types.fine_tuning import FineTuningJob

TUNESMITH = [sys.executable, "-m", "tunesmith"]
ADMIN_KEY = "an-admin-key-for-tests-1234567890"
PATIENCE_SECONDS = 120.0


def wait_until(claim: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not claim():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain: {what}"
        time.sleep(0.05)


class Service:
    """`tunesmith serve` (or `server`) on a data folder and a free port."""

    def __init__(self, data_dir: Path, command: str = "serve", **settings: str) -> None:
        self.data_dir = data_dir
        self._command = command
        self._settings = {f"TUNESMITH_{name.upper()}": value for name, value in settings.items()}
        self._port = 0
        self._log = data_dir.with_suffix(".log")
        self._client: openai.OpenAI | None = None
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "TUNESMITH_ADMIN_KEY": ADMIN_KEY,
            "TUNESMITH_THREADS": "1",
            "TUNESMITH_LOG_LEVEL": "info",
            **self._settings,
        }

    @property
    def log(self) -> str:
        return self._log.read_text()

    def start(self) -> None:
        command = [*TUNESMITH, self._command, "--data-dir", str(self.data_dir)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self._port)],
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        address = self.data_dir / "server.json"

        def is_up() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.log
            return address.is_file() and json.loads(address.read_text())["pid"] == self.process.pid

        wait_until(is_up, "the server to listen")
        self.url = json.loads(address.read_text())["url"]
        self._port = int(self.url.rsplit(":", 1)[1])  # a restart keeps it, as an operator would

    def stop(self) -> int:
        """As Ctrl-C or a process manager would; returns the exit code."""
        assert self.process is not None
        self._hang_up()
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """The exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self) -> None:
        assert self.process is not None
        self._hang_up()
        self.process.kill()
        self.process.wait()

    def run(self, *arguments: str) -> str:
        """A command of `tunesmith` on this data folder; its standard output."""
        done = subprocess.run(
            [*TUNESMITH, *arguments, "--data-dir", str(self.data_dir)],
            env=self.environment,
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        )
        return done.stdout

    @property
    def client(self) -> openai.OpenAI:
        if self._client is None:
            url = f"{self.url}/v1"
            self._client = openai.OpenAI(base_url=url, api_key=ADMIN_KEY, max_retries=5)
        return self._client

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    @property
    def http(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def processes(self, words: str) -> list[int]:
        """The pids of this service's processes whose command line has these words."""
        assert self.process is not None
        return descendants(self.process.pid, words)


def descendants(root: int, words: str) -> list[int]:
    """The pids of a process and of those that it began whose command line has these words."""
    listing = subprocess.check_output(["ps", "-eo", "pid=,ppid=,args="], text=True)
    rows = [line.split(None, 2) for line in listing.splitlines()]
    ours = {root}
    while True:
        more = {int(pid) for pid, parent, _ in rows if int(parent) in ours} - ours
        if not more:
            break
        ours |= more
    return [int(pid) for pid, _, args in rows if int(pid) in ours and words in args]


def wait_for_job(
    service: Service,
    job_id: str,
    status: str = "succeeded",
    seconds: float = PATIENCE_SECONDS,
) -> FineTuningJob:
    job: FineTuningJob | None = None

    def has_ended() -> bool:
        nonlocal job
        job = service.client.fine_tuning.jobs.retrieve(job_id)
        return job.status in ("succeeded", "failed", "cancelled")

    wait_until(has_ended, f"job {job_id} to end", seconds)
    assert job is not None
    assert job.status == status, job.error
    return job


def steps_done(service: Service, job_id: str) -> list[int]:
    """The steps of the metric events, oldest first."""
    events = list(service.client.fine_tuning.jobs.list_events(job_id, limit=100))
    return [event.data["step"] for event in reversed(events) if event.type == "metrics"]
