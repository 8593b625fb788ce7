"""All measurements, in one command: `python -m benchmarks.run`; see docs/performance.md."""

import argparse
import os
import sys
import time
from pathlib import Path

import torch

from benchmarks import answers, makespan, report, starts, throughput
from benchmarks.peers import environments
from benchmarks.session import OutOfTime, Session
from benchmarks.workloads import WORKLOADS

HERE = Path(__file__).parent
PARTS = ("sweep", "turns", "ablation", "starts", "makespan", "answers")


def main() -> None:
    arguments = parse_arguments()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("skipped: there is no CUDA device")
        return
    if not (arguments.data / "banking77").is_dir():
        sys.exit(f"There is no data in {arguments.data}: name its folder in TUNESMITH_TEST_DATA.")
    environments.make(arguments.folder)
    session = Session(
        data=arguments.data,
        folder=arguments.folder,
        out=arguments.out or HERE / "results" / f"{arguments.device}.json",
        clock=arguments.clock,
        threads=arguments.threads,
        device=arguments.device,
        is_quick=arguments.quick,
        is_full=arguments.full,
        is_preliminary=arguments.preliminary,
        goes_on=arguments.go_on or arguments.again is not None,
        minutes=arguments.minutes,
    )
    if arguments.again is not None:
        _forget(session, arguments)
    began_at = time.monotonic()
    try:
        for part in arguments.parts:
            _PARTS[part](session, arguments)
    except OutOfTime:
        print("not all is measured: --go-on measures the rest")
    print(f"took {(time.monotonic() - began_at) / 60:.0f} minutes; results in {session.out}")
    if arguments.out is None and not arguments.quick:
        report.write()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="see whether it runs")
    size.add_argument("--full", action="store_true", help="five repeats")
    data = os.environ.get("TUNESMITH_TEST_DATA", "../shared/data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--folder", type=Path, default=Path(".bench"), help="of what is made")
    parser.add_argument("--out", type=Path, help="by default benchmarks/results/DEVICE.json")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--minutes", type=float, default=600, help="begin nothing after so many")
    parser.add_argument("--go-on", action="store_true", help="keep what was measured before")
    parser.add_argument(
        "--again",
        nargs="*",
        metavar="CONFIGURATION",
        help="go on, but measure anew what is asked for here, of all configurations or of these",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--models", nargs="+", choices=("tiny", "S", "M"))
    parser.add_argument("--workloads", nargs="+", choices=list(WORKLOADS))
    parser.add_argument("--preliminary", action="store_true", help="mark the results so")
    return parser.parse_args()


def _forget(session: Session, arguments: argparse.Namespace) -> None:
    """What belongs to the parts, models and workloads that are asked for."""
    along = {"turns": ["checks", "losses"]}
    parts = [name for part in arguments.parts for name in (part, *along.get(part, []))]
    session.forget(
        parts,
        model=arguments.models or ["S"],
        workload=arguments.workloads,
        configuration=arguments.again or None,
    )


def _sweep(session: Session, arguments: argparse.Namespace) -> None:
    for model in arguments.models or ["S"]:
        for workload in _workloads(session, arguments):
            throughput.sweep(session, model, workload)


def _turns(session: Session, arguments: argparse.Namespace) -> None:
    repeats, steps = (1, 1) if session.is_quick else (5, 6) if session.is_full else (3, 4)
    for model in arguments.models or ["S"]:
        # A run of the large model is long enough to be steady.
        times = min(repeats, 2) if model == throughput.LARGE else repeats
        for workload in _workloads(session, arguments):
            throughput.measure(session, model, workload, repeats=times, steps=steps)


def _workloads(session: Session, arguments: argparse.Namespace) -> list[str]:
    everything = ["banking77", "gsm8k"] if session.is_quick else list(WORKLOADS)
    return arguments.workloads or everything


def _ablation(session: Session, arguments: argparse.Namespace) -> None:
    if session.is_quick:
        return
    for model in arguments.models or ["S"]:
        for workload in arguments.workloads or ["replies"]:
            throughput.ablate(session, model, workload, repeats=5 if session.is_full else 2)


def _starts(session: Session, arguments: argparse.Namespace) -> None:
    for model in arguments.models or ["S"]:
        starts.measure(session, model, repeats=5 if session.is_full else 2)


def _makespan(session: Session, arguments: argparse.Namespace) -> None:
    if session.is_quick:
        return
    counts = (1, 4, 8, 16)
    for model in arguments.models or ["S"]:
        makespan.measure(session, model, "gsm8k", counts)
        makespan.measure_mixed(session, model, "gsm8k")
        if session.is_full:
            makespan.measure(session, model, "banking77", counts)


def _answers(session: Session, arguments: argparse.Namespace) -> None:
    if session.is_quick:
        return
    for model in arguments.models or ["S"]:
        answers.measure(session, model)


_PARTS = {
    "sweep": _sweep,
    "turns": _turns,
    "ablation": _ablation,
    "starts": _starts,
    "makespan": _makespan,
    "answers": _answers,
}


if __name__ == "__main__":
    main()
