"""`python -m benchmarks.soak --minutes 10`: many tiny jobs, one after another, and what they leave.

The whole service, with a worker and a host. What grows with the jobs that were done would show: the
resident memory and open files of each process, SQLite's log, and how long a request takes.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np

from tests.e2e.service import ADMIN_KEY, Service
from tests.tiny_models import make_tiny_llama

BASE = "random-llama"
WAITING = 6  # jobs that are there at once
SAMPLE_SECONDS = 5.0
SETTLING_SHARE = 0.3  # of the time, in which caches fill
PROCESSES = {"server": "tunesmith serve", "worker": "tunesmith worker", "host": "compute.host"}
MEBIBYTE = 1024**2


@dataclass
class Samples:
    """`minutes` since the start, and what each was then; by process and kind."""

    minutes: list[float] = field(default_factory=list)
    figures: dict[str, list[float]] = field(default_factory=dict)
    latencies: list[tuple[float, float]] = field(default_factory=list)  # minutes, milliseconds

    def add(self, minutes: float, figures: dict[str, float]) -> None:
        self.minutes.append(minutes)
        for name, value in figures.items():
            self.figures.setdefault(name, []).append(value)


def rows() -> bytes:
    messages = [{"role": "user", "content": "red"}, {"role": "assistant", "content": "code"}]
    return b"\n".join([json.dumps({"messages": messages}).encode()] * 10)


def figures_of(service: Service) -> dict[str, float]:
    assert service.process is not None
    pids = {"server": service.process.pid}
    for name in ("worker", "host"):
        pids[name] = next(iter(service.processes(PROCESSES[name])), 0)
    found: dict[str, float] = {}
    for name, pid in pids.items():
        folder = Path(f"/proc/{pid}")
        if not pid or not folder.exists():
            return {}
        (line,) = (x for x in (folder / "status").read_text().split("\n") if x.startswith("VmRSS"))
        found[f"{name} MiB"] = int(line.split()[1]) / 1024
        found[f"{name} files"] = len(list((folder / "fd").iterdir()))
    wal = service.data_dir / "tunesmith.db-wal"
    found["WAL MiB"] = wal.stat().st_size / MEBIBYTE if wal.exists() else 0.0
    return found


def ask_on(service: Service, samples: Samples, started: float, is_over: threading.Event) -> None:
    """What a client sees that looks at its jobs ten times a second."""
    headers = {"Authorization": f"Bearer {ADMIN_KEY}"}
    with httpx.Client(base_url=service.url, headers=headers, timeout=60) as http:
        while not is_over.wait(0.1):
            before = time.perf_counter()
            http.get("/v1/fine_tuning/jobs").raise_for_status()
            taken = 1000 * (time.perf_counter() - before)
            samples.latencies.append(((time.monotonic() - started) / 60, taken))


def soak(service: Service, minutes: float) -> tuple[Samples, int]:
    client, jobs = service.client, service.client.fine_tuning.jobs
    data = client.files.create(file=("train.jsonl", rows()), purpose="fine-tune")
    samples, is_over, started = Samples(), threading.Event(), time.monotonic()
    asking = threading.Thread(target=ask_on, args=(service, samples, started, is_over))
    asking.start()
    open_jobs: list[str] = []
    num_done, sampled_at = 0, started
    while (now := time.monotonic()) < started + 60 * minutes:
        while len(open_jobs) < WAITING:
            made = jobs.create(
                model=BASE, training_file=data.id, hyperparameters={"n_epochs": 1, "batch_size": 5}
            )
            open_jobs.append(made.id)
        states = {job_id: jobs.retrieve(job_id).status for job_id in open_jobs}
        assert not set(states.values()) & {"failed", "cancelled"}, states
        ended = [job_id for job_id, status in states.items() if status == "succeeded"]
        num_done += len(ended)
        open_jobs = [job_id for job_id in open_jobs if job_id not in ended]
        if now > sampled_at + SAMPLE_SECONDS and (figures := figures_of(service)):
            samples.add((now - started) / 60, figures)
            sampled_at = now
        time.sleep(0.2)
    is_over.set()
    asking.join()
    return samples, num_done


def report(samples: Samples, num_done: int) -> None:
    total = samples.minutes[-1]
    print(f"{num_done} jobs in {total:.1f} minutes, {num_done / total:.0f} a minute")
    minutes = np.array(samples.minutes)
    late = minutes > SETTLING_SHARE * total
    print("| | after settling | at the end | at most | slope an hour |\n|---|---|---|---|---|")
    for name, values in samples.figures.items():
        each = np.array(values)
        slope = 60 * np.polyfit(minutes[late], each[late], 1)[0]
        at_first, last = statistics.median(each[late][:5]), statistics.median(each[-5:])
        print(f"| {name} | {at_first:.1f} | {last:.1f} | {each.max():.1f} | {slope:+.1f} |")
    cuts = [SETTLING_SHARE * total, (1 + SETTLING_SHARE) / 2 * total, total]
    for begin, end in itertools.pairwise(cuts):
        taken = sorted(ms for minute, ms in samples.latencies if begin <= minute < end)
        p50, p99 = (taken[int(len(taken) * share)] for share in (0.5, 0.99))
        print(f"minutes {begin:.1f} to {end:.1f}: p50 {p50:.1f} ms, p99 {p99:.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(folder / "data", log_level="warning")
        service.run("models", "add", BASE, "--from", str(make_tiny_llama(folder / BASE)))
        service.start()
        try:
            report(*soak(service, asked.minutes))
        finally:
            service.stop()


if __name__ == "__main__":
    main()
