"""A server process of its own, and what Linux tells of it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

KEY = "ts_benchmark-key-of-enough-characters"


@dataclass
class Server:
    url: str
    pid: int
    data_dir: Path

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def resident_bytes(self, kind: str = "VmRSS") -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith(f"{kind}:"))
        return int(line.split()[1]) * 1024


@contextmanager
def serving(
    folder: Path, *, program: Sequence[str] = ("-m", "tunesmith"), **settings: str
) -> Iterator[Server]:
    data_dir = folder / "data"
    environment = {**os.environ, "TUNESMITH_ADMIN_KEY": KEY}
    environment |= {f"TUNESMITH_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, *program, "server", "--port", "0"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)], env=environment, stdout=log, stderr=log
        )
    try:
        address = data_dir / "server.json"
        deadline = time.monotonic() + 180
        while not address.exists():
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        yield Server(json.loads(address.read_text())["url"], process.pid, data_dir)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@dataclass
class Memory:
    """Samples of a server's resident memory: seconds since the start, and bytes."""

    server: Server
    samples: list[tuple[float, int]] = field(default_factory=list)

    @contextmanager
    def sampled(self, every_seconds: float = 0.1) -> Iterator[None]:
        is_over, started = threading.Event(), time.monotonic()

        def sample() -> None:
            while not is_over.wait(every_seconds):
                passed = time.monotonic() - started
                self.samples.append((passed, self.server.resident_bytes()))

        thread = threading.Thread(target=sample)
        thread.start()
        try:
            yield
        finally:
            is_over.set()
            thread.join()

    @property
    def peak(self) -> int:
        return max(size for _, size in self.samples)
