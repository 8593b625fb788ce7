"""Runs the targets in turn, and says how many cases each has stood.

`python -m fuzz --seconds 60`, or `--cases 10000` for so many of each.
"""

import argparse
import time
from collections import Counter

from hypothesis import HealthCheck, Phase, given, settings

from fuzz.targets import TARGETS

ROUND = 500  # cases of a target before it is the next one's turn


def fuzz(name: str, num_cases: int, *, derandomize: bool) -> int:
    """How many cases were run; raises with the smallest input that a target failed on."""
    target, count = TARGETS[name], 0

    @settings(
        max_examples=num_cases,
        derandomize=derandomize,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def run(case: object) -> None:
        nonlocal count
        count += 1
        target.run(case)

    run()
    return count


def main() -> None:
    parser = argparse.ArgumentParser(prog="fuzz")
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=float, default=60)
    how_long.add_argument("--cases", type=int, help="of each target, whatever time it takes")
    parser.add_argument("--target", choices=TARGETS, action="append")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    targets = asked.target or list(TARGETS)
    deadline = time.monotonic() + asked.seconds
    while _goes_on(counts, targets, asked.cases, deadline):
        for name in targets:
            counts[name] += fuzz(name, ROUND, derandomize=False)
    for name, count in counts.items():
        print(f"{name}: {count:,} cases")
    print(f"{counts.total():,} cases, no failure")


def _goes_on(
    counts: Counter[str], targets: list[str], num_cases: int | None, deadline: float
) -> bool:
    if num_cases is None:
        return time.monotonic() < deadline
    return any(counts[name] < num_cases for name in targets)


if __name__ == "__main__":
    main()
