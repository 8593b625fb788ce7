"""Kills processes of a service with -9, at moments that follow from a seed."""

import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.e2e.lone_worker import HOST
from tests.e2e.service import TUNESMITH, Service, descendants

_LOOK_SECONDS = 0.0005  # a commit takes a millisecond, a save a few
_PATIENCE_SECONDS = 10.0  # with a moment that does not come
_PROGRESS_SECONDS = 40.0  # until a worker that was killed trains again
_MEAN_PAUSE_SECONDS = 0.7


class Fleet:
    """A server and a worker, each started again after it was killed."""

    def __init__(self, server: Service, key: str, work_dir: Path) -> None:
        self.server = server
        self.work_dir = work_dir
        self._environment = {**server.environment, "TUNESMITH_API_KEY": key}
        self._worker: subprocess.Popen[bytes] | None = None
        self._log = work_dir.with_suffix(".log")

    def start_worker(self) -> None:
        command = [*TUNESMITH, "worker", "--server", self.server.url, "--name", "box"]
        command += ["--work-dir", str(self.work_dir)]
        with self._log.open("ab") as log:
            self._worker = subprocess.Popen(command, env=self._environment, stdout=log, stderr=log)

    def kill_worker(self) -> None:
        """Its hosts see their input end, and go too."""
        assert self._worker is not None
        self._worker.kill()
        self._worker.wait()

    def hosts(self) -> list[int]:
        assert self._worker is not None
        return descendants(self._worker.pid, HOST)

    def kill_hosts(self) -> None:
        for pid in self.hosts():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


class Injector:
    """`kill_one` waits for the next moment, kills, and starts again what it has killed."""

    def __init__(self, fleet: Fleet, rng: random.Random) -> None:
        self.counts: Counter[str] = Counter()
        self._fleet, self._rng = fleet, rng
        self._trained_at = time.time()
        self._wal = fleet.server.data_dir / "tunesmith.db-wal"
        self._kinds: dict[str, tuple[int, Callable[[], None]]] = {
            "server, at any moment": (20, self._server),
            "server, while it commits": (20, lambda: self._server(self._is_committing())),
            "server, while it stores bytes": (10, lambda: self._server(self._is_storing)),
            "worker, at any moment": (12, self._worker),
            "worker, while its host saves": (8, lambda: self._worker(self._is_saving)),
            "host, at any moment": (12, self._host),
            "host, while it saves": (12, lambda: self._host(self._is_saving)),
            "all at once": (6, self._all),
        }

    def kill_one(self) -> str:
        names = list(self._kinds)
        (name,) = self._rng.choices(names, [self._kinds[n][0] for n in names])
        time.sleep(self._rng.expovariate(1 / _MEAN_PAUSE_SECONDS))
        self._kinds[name][1]()
        self.counts[name] += 1
        return name

    def _server(self, is_moment: Callable[[], bool] | None = None) -> None:
        self._wait(is_moment)
        self._fleet.server.kill()
        self._fleet.server.start()

    def _worker(self, is_moment: Callable[[], bool] | None = None) -> None:
        self._wait_for_training()
        self._wait(is_moment)
        self._fleet.kill_worker()
        self._fleet.start_worker()
        self._trained_at = time.time()

    def _host(self, is_moment: Callable[[], bool] | None = None) -> None:
        self._wait_for_training()
        self._wait(is_moment)
        self._fleet.kill_hosts()
        self._trained_at = time.time()

    def _all(self) -> None:
        """As when the power fails."""
        self._wait_for_training()
        hosts = self._fleet.hosts()
        self._fleet.server.kill()
        self._fleet.kill_worker()
        for pid in hosts:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._fleet.server.start()
        self._fleet.start_worker()
        self._trained_at = time.time()

    def _wait(self, is_moment: Callable[[], bool] | None) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while is_moment is not None and not is_moment() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)

    def _wait_for_training(self) -> None:
        """A job that loses attempt after attempt without a checkpoint is given up, and should be:
        so something is saved between two kills of those that train."""
        deadline = time.monotonic() + _PROGRESS_SECONDS
        while time.monotonic() < deadline:
            times = [_changed_at(folder) for folder in self._folders("*/output/checkpoints")]
            if max(times, default=0.0) > self._trained_at:
                break
            time.sleep(0.02)
        time.sleep(self._rng.expovariate(1 / _MEAN_PAUSE_SECONDS))

    def _is_committing(self) -> Callable[[], bool]:
        before = _changed_at(self._wal)
        return lambda: _changed_at(self._wal) != before

    def _is_storing(self) -> bool:
        return any((self._fleet.server.data_dir / "blobs" / "incoming").iterdir())

    def _is_saving(self) -> bool:
        return bool(self._folders("*/output/checkpoints/.step-*.partial"))

    def _folders(self, pattern: str) -> list[Path]:
        return list((self._fleet.work_dir / "attempts").glob(pattern))


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime_ns / 1e9
    except OSError:
        return 0.0
