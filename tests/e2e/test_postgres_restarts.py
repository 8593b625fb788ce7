"""PostgreSQL goes away under load, in good order or not: what was acknowledged is there.

python -m tests.e2e.test_postgres_restarts --restarts 20
"""

import argparse
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests import postgres
from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import Service, wait_until
from tests.tiny_models import make_tiny_llama

WAYS = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)  # fast, immediate, dead
NUM_WRITERS = 4
PAUSE_SECONDS = 0.05


class Writer(threading.Thread):
    """Creates jobs, each until it is acknowledged, and counts what it is answered."""

    def __init__(self, service: Service, file_id: str, rng: random.Random) -> None:
        super().__init__()
        self._service, self._file_id, self._rng = service, file_id, rng
        self.is_over = threading.Event()
        self.acknowledged: list[str] = []
        self.statuses: Counter[int] = Counter()
        self.unannounced: list[str] = []  # answers of 503 that do not say when to come back
        self.longest_seconds = 0.0

    def run(self) -> None:
        with self._service.http as http:
            while not self.is_over.is_set():
                self._create(http, f"{self._rng.getrandbits(64):016x}")

    def _create(self, http: httpx.Client, name: str) -> None:
        body = {"model": BASE, "training_file": self._file_id, "suffix": name}
        began = time.monotonic()
        while True:
            answer = http.post("/v1/fine_tuning/jobs", json=body, headers={"Idempotency-Key": name})
            self.statuses[answer.status_code] += 1
            if answer.is_success:
                break
            if answer.status_code != 503 or "retry-after" not in answer.headers:
                self.unannounced.append(f"{answer.status_code}: {answer.text[:200]}")
            time.sleep(PAUSE_SECONDS)
        self.longest_seconds = max(self.longest_seconds, time.monotonic() - began)
        self.acknowledged.append(name)


def restart_under_load(folder: Path, restarts: int, seed: int) -> list[Writer]:
    """The writers, who have compared what is there with what they were told."""
    binaries = postgres.find_binaries()
    assert binaries is not None
    rng = random.Random(seed)
    with postgres.running_server(binaries) as database:
        service = Service(folder / "data", "server", database_url=database.url)
        service.start()
        try:
            make_tiny_llama(folder / "base")
            service.run("models", "add", BASE, "--from", str(folder / "base"))
            file_id = service.client.files.create(
                file=("t.jsonl", conversations(20)), purpose="fine-tune"
            ).id
            writers = [
                Writer(service, file_id, random.Random(rng.random())) for _ in range(NUM_WRITERS)
            ]
            for writer in writers:
                writer.start()
            for number in range(restarts):
                time.sleep(rng.uniform(0.5, 1.5))
                database.stop(WAYS[number % len(WAYS)])
                time.sleep(rng.uniform(0.0, 0.5))
                database.start()
            counts = [len(writer.acknowledged) for writer in writers]
            wait_until(
                lambda: all(
                    len(writer.acknowledged) > count
                    for writer, count in zip(writers, counts, strict=True)
                ),
                "each writer to be served again",
            )
            for writer in writers:
                writer.is_over.set()
            for writer in writers:
                writer.join()
            there = Counter(_names(service))
            told = Counter(name for writer in writers for name in writer.acknowledged)
            assert there == told, f"lost: {told - there}; not told: {there - told}"
        finally:
            service.stop()
    return writers


def _names(service: Service) -> Iterator[str]:
    for job in service.client.fine_tuning.jobs.list(limit=100):
        yield str(job.model_dump()["user_provided_suffix"])


def test_nothing_acknowledged_is_lost_when_postgresql_restarts(tmp_path: Path) -> None:
    if postgres.find_binaries() is None:
        pytest.skip("there is no PostgreSQL")
    writers = restart_under_load(tmp_path, restarts=3, seed=1)
    assert [writer.unannounced for writer in writers] == [[]] * NUM_WRITERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--restarts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        writers = restart_under_load(Path(folder), arguments.restarts, arguments.seed)
    statuses = sum((writer.statuses for writer in writers), Counter[int]())
    unannounced = [line for writer in writers for line in writer.unannounced]
    print(f"{arguments.restarts} restarts; answers: {dict(statuses)}; {len(unannounced)} others")
    print("\n".join(unannounced[:20]))
    print(f"longest wait of a request: {max(w.longest_seconds for w in writers):.1f} s")


if __name__ == "__main__":
    main()
