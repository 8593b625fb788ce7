"""Several small jobs: from the first submission to the last adapter on disk.

Ours go to a service that has just started, whose host has not, and to one at rest, whose worker has
imported what a host needs. Peers train each job in a process of its
own, start-up included: one after another, and two at a time with half of the threads.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from benchmarks import configurations, processes, service
from benchmarks.configurations import Configuration
from benchmarks.session import Session
from benchmarks.throughput import new_job, prepared
from benchmarks.workloads import Files

EXAMPLES_PER_STEP = 4
EQUAL_EXAMPLES = 32
MIXED = [(16, 8), (16, 16), (32, 32), (32, 64), (64, 8), (64, 16), (128, 32), (128, 64)]


@dataclass(frozen=True)
class Small:
    """A job's data and the rank of its adapter."""

    files: Files
    rank: int = 16


def measure(session: Session, model: str, workload: str, counts: Sequence[int]) -> None:
    most = max(counts)
    equal = [
        Small(prepared(session, model, workload, EQUAL_EXAMPLES, skip=number * EQUAL_EXAMPLES))
        for number in range(most)
    ]
    best = _quickest_peer(session, model, workload, equal[0])
    _in_turn(session, model, workload, equal, best, counts)
    _in_parallel(session, model, workload, equal, best, [count for count in counts if count > 1])
    for count in counts:
        for rests in (False, True):
            _ours(session, model, workload, f"{count} equal", equal[:count], rests=rests)


def measure_mixed(session: Session, model: str, workload: str) -> None:
    mixed = [
        Small(prepared(session, model, workload, size, skip=1000 * number), rank)
        for number, (size, rank) in enumerate(MIXED)
    ]
    known = {"model": model, "workload": workload, "jobs": "8 mixed"}
    best = _quickest_peer(session, model, workload, mixed[0])
    if not session.known("makespan", **known, configuration=f"{best.name} in turn"):
        began_at = time.monotonic()
        for small in mixed:
            _train(session, model, workload, small, best)
        seconds = time.monotonic() - began_at
        _add(session, model, workload, "8 mixed", f"{best.name} in turn", seconds)
    if not session.known("makespan", **known, configuration="tunesmith"):
        _ours_mixed(session, model, workload, mixed)


def _ours_mixed(session: Session, model: str, workload: str, mixed: list[Small]) -> None:
    with service.running(session, model, "mixed") as running:
        began_at = time.monotonic()
        names = [
            service.submit_with_rank(
                running, f"mixed-{n}", small.files.rows, EXAMPLES_PER_STEP, small.rank
            )
            for n, small in enumerate(mixed)
        ]
        service.wait_for_finetunes(running, names)
        seconds = time.monotonic() - began_at
        peak = service.host_peak_bytes(running)
    _add(session, model, workload, "8 mixed", "tunesmith", seconds, peak_bytes=peak)


def _ours(
    session: Session, model: str, workload: str, jobs: str, small: list[Small], *, rests: bool
) -> None:
    name = "tunesmith at rest" if rests else "tunesmith"
    asked = {"model": model, "workload": workload, "jobs": jobs}
    if session.known("makespan", **asked, configuration=name):
        return
    with service.running(session, model, "makespan", rests=rests) as running:
        began_at = time.monotonic()
        ids = [service.submit(running, s.files.rows, EXAMPLES_PER_STEP) for s in small]
        service.wait_for_jobs(running.client, ids)
        seconds = time.monotonic() - began_at
        peak = service.host_peak_bytes(running)
    _add(session, model, workload, jobs, name, seconds, peak_bytes=peak)


def _quickest_peer(session: Session, model: str, workload: str, small: Small) -> Configuration:
    """By the wall time of one process, start-up included."""
    seconds = {}
    peers = configurations.small_job_peers(EXAMPLES_PER_STEP)
    for peer in peers:
        asked = {"model": model, "workload": workload, "configuration": peer.name}
        if not session.known("one small job", **asked):
            began_at = time.monotonic()
            _train(session, model, workload, small, peer)
            took = time.monotonic() - began_at
            session.add("one small job", f"{peer.name}: {took:.1f} s", **asked, seconds=took)
        [record] = session.known("one small job", **asked)
        seconds[peer.name] = record["seconds"]
    return min(peers, key=lambda peer: seconds[peer.name])


def _in_turn(
    session: Session,
    model: str,
    workload: str,
    small: list[Small],
    peer: Configuration,
    counts: Sequence[int],
) -> None:
    """One series; what the first few took is their makespan."""
    asked = {"model": model, "workload": workload, "configuration": f"{peer.name} in turn"}
    if session.known("makespan", **asked, jobs=f"{max(counts)} equal"):
        return
    began_at = time.monotonic()
    for number, job in enumerate(small, start=1):
        _train(session, model, workload, job, peer)
        if number in counts:
            seconds = time.monotonic() - began_at
            _add(session, model, workload, f"{number} equal", f"{peer.name} in turn", seconds)


def _in_parallel(
    session: Session,
    model: str,
    workload: str,
    small: list[Small],
    peer: Configuration,
    counts: Sequence[int],
) -> None:
    half = max(1, session.threads // 2)
    for count in counts:
        name = f"{peer.name} two at a time"
        asked = {"model": model, "workload": workload, "configuration": name}
        if session.known("makespan", **asked, jobs=f"{count} equal"):
            continue
        began_at = time.monotonic()
        with ThreadPoolExecutor(2) as two:
            futures = [
                two.submit(_train, session, model, workload, job, peer, half, f"output-{number}")
                for number, job in enumerate(small[:count])
            ]
            for future in futures:
                future.result()
        seconds = time.monotonic() - began_at
        _add(session, model, workload, f"{count} equal", name, seconds)


def _train(
    session: Session,
    model: str,
    workload: str,
    small: Small,
    peer: Configuration,
    threads: int | None = None,
    output: str = "output",
) -> None:
    job = new_job(session, model, workload, small.files, peer, output)
    job = replace(job, rank=small.rank, threads=threads or session.threads)
    processes.run(peer.program, replace(job, examples_per_step=EXAMPLES_PER_STEP), session.folder)


def _add(
    session: Session,
    model: str,
    workload: str,
    jobs: str,
    name: str,
    seconds: float,
    **more: int,
) -> None:
    fields = {"model": model, "workload": workload, "jobs": jobs, "configuration": name}
    text = f"{model} {workload}, {jobs}, {name}: {seconds:.1f} s"
    session.add("makespan", text, **fields, seconds=seconds, **more)
