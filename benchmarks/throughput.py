"""One job at a time: a sweep over the peers' settings, then their best and ours by turns."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import configurations, models, processes, workloads
from benchmarks.configurations import EXAMPLES_PER_STEP, OURS, Configuration
from benchmarks.job import Job
from benchmarks.processes import Failed, Program
from benchmarks.session import Session
from benchmarks.workloads import WORKLOADS, Files

WARMUP_STEPS = 4  # of the turns
NUM_LOSSES = 3  # curves of a peer, each from other first weights
SMALL, LARGE = "S", "M"
NUM_TRIED = 4  # of the peers' settings on the larger model: those that are the best on the smaller
NUM_CHECKED = 8  # examples; the plain way holds all their logits at once


def measure(session: Session, model: str, workload: str, *, repeats: int, steps: int) -> None:
    """`steps` are those of the turns; the sweep measures one.

    What is timed comes first: the checks may follow in another call, on a busy machine.
    """
    best = sweep(session, model, workload)
    for repeat in range(repeats):
        turn = [OURS, *best] if repeat % 2 == 0 else [*reversed(best), OURS]
        for configuration in map(_warmer, turn):
            _measure(session, "turns", model, workload, configuration, steps, seed=repeat)
    check(session, model, workload)
    if best and not _meets_the_same_steps(best[0]):
        for seed in range(NUM_LOSSES):
            peer = _warmer(configurations.quick_peers()[-1])
            _measure(session, "losses", model, workload, peer, steps, seed)


def _warmer(configuration: Configuration) -> Configuration:
    """Libraries make code for shapes in the first steps of a process, and keep it."""
    return replace(configuration, warmup_steps=WARMUP_STEPS)


def _meets_the_same_steps(peer: Configuration) -> bool:
    """The same examples as ours in the same order."""
    return not {"sampling", "packing"} & peer.options.keys()


def sweep(session: Session, model: str, workload: str) -> list[Configuration]:
    """The best setting of all peers; none where none ran."""
    method = WORKLOADS[workload].method
    if session.is_quick:
        candidates = configurations.quick_peers()
    else:
        files = prepared(session, model, workload, EXAMPLES_PER_STEP)
        candidates = configurations.peers(method, files.num_tokens / files.num_examples)
    if model == LARGE:
        candidates = _best_of(session, SMALL, workload, candidates)
    rates = []
    for candidate in candidates:
        found = _measure(session, "sweep", model, workload, candidate, 1)
        if found is not None:
            rates.append((session.rate(found), candidate))
    return [max(rates, key=lambda rated: rated[0])[1]] if rates else []


def _best_of(
    session: Session, model: str, workload: str, candidates: list[Configuration]
) -> list[Configuration]:
    """Those that were the quickest on another model; all where it was not measured."""
    rates = {
        record["configuration"]: session.rate(record["result"])
        for record in session.records
        if (record["part"], record.get("model"), record.get("workload"))
        == ("sweep", model, workload)
        and "result" in record
    }
    tried = [candidate for candidate in candidates if candidate.name in rates]
    tried.sort(key=lambda candidate: -rates[candidate.name])
    return tried[:NUM_TRIED] or candidates


def check(session: Session, model: str, workload: str) -> None:
    if session.known("checks", model=model, workload=workload):
        return
    files = prepared(session, model, workload, NUM_CHECKED)
    job = new_job(session, model, workload, files, OURS)
    job = replace(job, examples_per_step=NUM_CHECKED)
    found = processes.run(Program("benchmarks.checks"), job, session.folder)
    text = f"{model} {workload}: gradient {found['gradient_error']:.1e} from the textbook's"
    session.add("checks", text, model=model, workload=workload, **found)


def ablate(session: Session, model: str, workload: str, repeats: int) -> None:
    for repeat in range(repeats):
        for row in configurations.ablation():
            _measure(session, "ablation", model, workload, row, 2, seed=repeat)


def prepared(
    session: Session, model: str, workload: str, num_examples: int, skip: int = 0
) -> Files:
    folder = session.folder / "data" / f"{model}-{workload}-{num_examples}-{skip}"
    return workloads.prepare(
        workload, session.data, model_folder(session, model), num_examples, folder, skip
    )


def model_folder(session: Session, model: str) -> Path:
    return models.model_folder(model, session.data, session.folder / "models")


def new_job(
    session: Session,
    model: str,
    workload: str,
    files: Files,
    configuration: Configuration,
    output: str = "output",
) -> Job:
    """A job of one epoch over these files, with an empty output folder."""
    folder = (session.folder / output).absolute()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return Job(
        model=str(model_folder(session, model).absolute()),
        method=WORKLOADS[workload].method,
        rows=str(files.rows.absolute()),
        tokens=str(files.tokens.absolute()),
        output=str(folder),
        examples_per_step=EXAMPLES_PER_STEP,
        warmup_steps=configuration.warmup_steps,
        precision=configuration.precision,
        threads=session.threads,
        device=session.device,
        options=configuration.options,
    )


def _measure(
    session: Session,
    part: str,
    model: str,
    workload: str,
    configuration: Configuration,
    steps: int,
    seed: int = 0,
) -> dict[str, Any] | None:
    asked = {"model": model, "workload": workload, "configuration": configuration.name}
    known = session.known(part, **asked, seed=seed)
    if known:
        return known[-1].get("result")
    num_examples = EXAMPLES_PER_STEP * (configuration.warmup_steps + steps)
    files = prepared(session, model, workload, num_examples)
    job = replace(new_job(session, model, workload, files, configuration), seed=seed)
    fields: dict[str, Any] = {**asked, "options": configuration.options, "seed": seed}
    name = f"{model} {workload}, {configuration.name}"
    try:
        found = processes.run(
            configuration.program, job, session.folder, allocator=configuration.allocator
        )
    except Failed as failure:
        session.add(part, f"{name}: failed", **fields, failure=str(failure))
        return None
    session.add(part, f"{name}: {session.rate(found):,.0f} tokens/s", **fields, result=found)
    return found
