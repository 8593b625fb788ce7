"""Thousands of seeds: `python -m tests.simulation --seeds 5000`. A failing seed is printed.

`--mutants` puts known defects in, one at a time, and prints what finds them.
"""

import argparse
import time

from tests.simulation import runner
from tests.simulation.mutants import MUTANTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds to live through")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--events", type=int, default=runner.NUM_EVENTS, help="in each of them")
    parser.add_argument("--mutants", action="store_true", help="with known defects; 200 seeds do")
    arguments = parser.parse_args()
    worlds = runner.Worlds()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    if arguments.mutants:
        _find_mutants(worlds, seeds, arguments.events)
        return
    began = time.process_time()
    failure = worlds.first_failure(seeds, arguments.events)
    if failure is not None:
        raise SystemExit(str(failure))
    seconds = time.process_time() - began
    print(f"{arguments.seeds} seeds, {arguments.events} events each: {seconds:.0f} s of CPU.")


def _find_mutants(worlds: runner.Worlds, seeds: range, num_events: int) -> None:
    print("| Defect | Seeds | What is said |\n|---|---|---|", flush=True)
    missed = []
    for name, defect in MUTANTS.items():
        with defect():
            failure = worlds.first_failure(seeds, num_events)
        if failure is None:
            missed.append(name)
        found = "none" if failure is None else f"{failure.seed - seeds.start + 1}"
        print(f"| {name} | {found} | {failure.error if failure else ''} |", flush=True)
    if missed:
        raise SystemExit(f"Not found in {len(seeds)} seeds: {', '.join(missed)}.")


if __name__ == "__main__":
    main()
