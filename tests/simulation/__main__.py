"""Thousands of seeds: `python -m tests.simulation --seeds 50000`. A failing seed is printed."""

import argparse
import time

from tests.simulation import runner


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds to live through")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--events", type=int, default=runner.NUM_EVENTS, help="in each of them")
    arguments = parser.parse_args()
    began = time.process_time()
    seeds = range(arguments.first, arguments.first + arguments.seeds)
    failure = runner.Worlds().first_failure(seeds, arguments.events)
    seconds = time.process_time() - began
    if failure is not None:
        raise SystemExit(str(failure))
    print(f"{arguments.seeds} seeds, {arguments.events} events each: {seconds:.0f} s of CPU.")


if __name__ == "__main__":
    main()
