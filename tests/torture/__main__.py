"""Kills server, worker and hosts under load: `make torture`, `python -m tests.torture --rounds 9`.

Prints each ten kills, and a table at the end; ends with 1 where something was lost, doubled, torn
or stuck, and the data folder is kept then.
"""

import argparse
import random
import shutil
import tempfile
import time
from pathlib import Path

from tests.torture.run import Result, run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="how many kills")
    parser.add_argument("--seed", type=int, help="of the kills; by default the clock's")
    arguments = parser.parse_args()
    seed = int(time.time()) % 10**6 if arguments.seed is None else arguments.seed
    folder = Path(tempfile.mkdtemp(prefix="tunesmith-torture-"))
    print(f"{arguments.rounds} kills, seed {seed}, in {folder}", flush=True)
    result = run(folder, random.Random(seed), arguments.rounds, say=_say)
    print(_table(result))
    if result.violations:
        lines = "\n".join(result.violations)
        raise SystemExit(f"{lines}\n{len(result.violations)} violations; see {folder}")
    shutil.rmtree(folder)


def _say(line: str) -> None:
    print(line, flush=True)


def _table(result: Result) -> str:
    rows = [f"| {name} | {count} |" for name, count in result.figures().items()]
    return "\n".join(["", "| | |", "|---|---|", *rows])


if __name__ == "__main__":
    main()
