"""From the request to the first optimizer step's end: of a running service, and of peers.

Ours is cold where the service has just started, at rest where its worker has had the time to
import what a host needs, and warm where the base model is resident.
"""

import time
from pathlib import Path

from benchmarks import configurations, processes, service
from benchmarks.session import Session
from benchmarks.throughput import new_job, prepared
from tests.e2e.service import Service

WORKLOAD = "gsm8k"
EXAMPLES_PER_STEP = 4
NUM_EXAMPLES = 12  # three steps


def measure(session: Session, model: str, repeats: int) -> None:
    files = prepared(session, model, WORKLOAD, NUM_EXAMPLES)
    for repeat in range(repeats):
        if session.known("starts", model=model, repeat=repeat):
            continue
        took = []
        for first, rests in (("cold", False), ("at rest", True)):
            with service.running(session, model, "starts", rests=rests) as running:
                for state in (first, "warm", "warm"):
                    seconds = _first_step_seconds(running, files.rows)
                    took.append((f"tunesmith {state}", seconds))
        for peer in configurations.small_job_peers(EXAMPLES_PER_STEP):
            job = new_job(session, model, WORKLOAD, files, peer)
            found = processes.run(peer.program, job, session.folder)
            took.append((peer.name, found["first_step_seconds"]))
        for name, seconds in took:
            _add(session, model, name, seconds, repeat)


def _first_step_seconds(running: Service, rows: Path) -> float:
    began_at = time.monotonic()
    job_id = service.submit(running, rows, EXAMPLES_PER_STEP)
    service.wait_for_first_step(running.client, job_id)
    seconds = time.monotonic() - began_at
    service.wait_for_jobs(running.client, [job_id])
    return seconds


def _add(session: Session, model: str, name: str, seconds: float, repeat: int) -> None:
    text = f"{model} {WORKLOAD}, {name}: {seconds:.2f} s"
    fields = {"model": model, "workload": WORKLOAD, "configuration": name, "repeat": repeat}
    session.add("starts", text, **fields, seconds=seconds)
