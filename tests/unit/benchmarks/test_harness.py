"""The benchmarks run, and count what they say they count; how fast is no test's business."""

import json
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ours, processes, report, tables, throughput
from benchmarks.configurations import OURS, Configuration, ablation
from benchmarks.processes import Program
from benchmarks.session import Session
from benchmarks.workloads import WORKLOADS
from tunesmith.engine import examples
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run

MODEL, WORKLOAD = "tiny", "banking77"
NUM_STEPS = 3
# TRL is among our own development packages, so its program can be tried in our environment.
TRL = Configuration(
    name="TRL 4x2",
    program=Program("benchmarks.peers.trl"),
    options={"batch": 4, "accumulation": 2},
)


@lru_cache
def run(session: Session, workload: str, configuration: Configuration) -> dict[str, Any]:
    files = throughput.prepared(session, MODEL, workload, 8 * NUM_STEPS)
    job = throughput.new_job(session, MODEL, workload, files, configuration)
    return processes.run(configuration.program, replace(job, examples_per_step=8), session.folder)


@pytest.mark.parametrize("workload", WORKLOADS)
def test_the_tokens_for_peers_are_those_of_our_steps_in_order(
    session: Session, workload: str
) -> None:
    files = throughput.prepared(session, MODEL, workload, 8 * NUM_STEPS)
    job = throughput.new_job(session, MODEL, workload, files, OURS)
    opened = open_run(BaseModel.load(Path(job.model)), ours.spec(job))
    close_run(opened)
    steps = range(1, opened.order.total_steps + 1)
    rows = [row for step in steps for row in opened.batch(step)]
    told = [json.loads(line) for line in files.tokens.read_text().splitlines()]
    assert [_texts(row) for row in told] == [[e.token_ids for e in row.examples] for row in rows]
    assert files.num_tokens == sum(map(examples.num_tokens, rows))


def _texts(row: dict[str, list[int]]) -> list[list[int]]:
    if "input_ids" in row:
        return [row["input_ids"]]
    return [row["prompt_ids"] + row[answer] for answer in ("chosen_ids", "rejected_ids")]


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["banking77", "gsm8k-pairs"])
def test_ours_and_a_peer_do_the_same_work(session: Session, workload: str) -> None:
    found = run(session, workload, OURS)
    theirs = run(session, workload, TRL)
    for counted in ("num_steps", "num_examples", "num_tokens"):
        assert found[counted] == theirs[counted]
    assert found["num_steps"] == NUM_STEPS - 1
    assert found["losses"] == pytest.approx(theirs["losses"], rel=2e-3)
    assert found["peak_bytes"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("row", ablation(), ids=lambda row: row.name)
def test_every_row_of_the_ablation_trains_the_same(session: Session, row: Configuration) -> None:
    found = run(session, "banking77", row)
    expected = run(session, "banking77", OURS)
    assert found["num_tokens"] == expected["num_tokens"]
    assert found["losses"] == pytest.approx(expected["losses"], rel=2e-3)


def test_the_page_tells_what_was_measured(session: Session) -> None:
    throughput.check(session, MODEL, WORKLOAD)
    found = run(session, WORKLOAD, OURS)
    fields = {"model": MODEL, "workload": WORKLOAD, "options": {}, "seed": 0}
    session.add("turns", "ours", configuration=OURS.name, **fields, result=found)
    session.add("turns", "theirs", configuration=TRL.name, **fields, result=found)
    results = json.loads(session.out.read_text())
    page = report.section(results)
    (line,) = [ln for ln in page.splitlines() if ln.startswith(f"| {MODEL} | {WORKLOAD} |")]
    assert line.endswith("| equal |")
    assert "| **1.0** |" in line
    assert report.throughput_plot(results).count("<rect") == 2


def test_a_result_without_its_checks_is_marked(session: Session) -> None:
    found = run(session, WORKLOAD, OURS)
    fields = {"part": "turns", "model": "other", "workload": WORKLOAD, "options": {}, "seed": 0}
    off = {**found, "losses": [2 * loss for loss in found["losses"]]}
    records = [
        {**fields, "configuration": OURS.name, "result": found},
        {**fields, "configuration": TRL.name, "result": off},
    ]
    (duel,) = tables.duels({"clock": "cpu", "records": records})
    assert duel.doubts == ["not checked", "losses differ by 100.0%"]


def test_a_program_that_fails_says_why(session: Session) -> None:
    unknown = replace(OURS, options={"constants": {"tunesmith.engine.packing:NO_SUCH": 1}})
    with pytest.raises(processes.Failed, match="NO_SUCH"):
        run(session, WORKLOAD, unknown)
