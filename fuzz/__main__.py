"""`python -m fuzz --seconds 60`: run the targets in turn, and say how many cases each has stood."""

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
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--target", choices=TARGETS, action="append")
    asked = parser.parse_args()
    counts: Counter[str] = Counter()
    deadline = time.monotonic() + asked.seconds
    while time.monotonic() < deadline:
        for name in asked.target or TARGETS:
            counts[name] += fuzz(name, ROUND, derandomize=False)
    for name, count in counts.items():
        print(f"{name}: {count:,} cases")
    print(f"{counts.total():,} cases, no failure")


if __name__ == "__main__":
    main()
