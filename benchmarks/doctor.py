"""`make bench-doctor`: how much of what is wrong the dataset doctor finds, and what it costs.

Defects are put into clean rows, each with the rule that should name it and its line. Recall is the
share that is found by that rule in that line; what it says of rows that nobody spoilt are false
alarms, or faults of real data.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import cycle
from pathlib import Path

from benchmarks.defects import DEFECTS, LEAKS, Row, message, raw
from tunesmith.doctor.examination import Examination, held_by, whole_lines
from tunesmith.doctor.leaks import Held
from tunesmith.domain.rules import Rule

SEED = 1
NUM_ROWS = 3000
NUM_DEFECTS = 50  # of each rule, its shapes by turns
NUM_LARGE = 100_000
Defect = tuple[Rule, str]  # and its shape
Seeded = dict[Defect, set[int]]  # the lines where it is


def main() -> None:
    if "TUNESMITH_TEST_DATA" not in os.environ:
        sys.exit("TUNESMITH_TEST_DATA must name the folder of banking77 and gsm8k.")
    data = Path(os.environ["TUNESMITH_TEST_DATA"])
    print(f"Seed {SEED}, {NUM_DEFECTS} defects of each rule in {NUM_ROWS:,} rows of GSM8K.\n")
    clean = gsm8k(data, "train")
    _print_recall(clean[:NUM_ROWS], gsm8k(data, "test"))
    print("\nClean data, as it is:\n")
    print("| data | rows | findings |\n| --- | --- | --- |")
    _print_alarms("GSM8K, against its test split", clean, gsm8k(data, "test"))
    banking = banking77(data, "train")
    _print_alarms("BANKING77, against its test split", banking, banking77(data, "test"))
    print(f"\n`tunesmith data check FILE --against VALIDATION`, {NUM_LARGE:,} rows:\n")
    print("| data | size | time |\n| --- | --- | --- |")
    _print_time("GSM8K", clean, gsm8k(data, "test"))
    _print_time("BANKING77 with its intents", banking, banking77(data, "test"))


def gsm8k(data: Path, split: str) -> list[Row]:
    lines = (data / "gsm8k" / f"{split}.jsonl").read_text().splitlines()
    return [_chat("Solve it.", row["question"], row["answer"]) for row in map(json.loads, lines)]


def banking77(data: Path, split: str) -> list[Row]:
    intents = json.loads((data / "banking77" / "categories.json").read_text())
    system = "Name the intent, one of: " + ", ".join(intents) + "."
    with (data / "banking77" / f"{split}.csv").open(newline="") as file:
        return [_chat(system, row["text"], row["category"]) for row in csv.DictReader(file)]


def _chat(system: str, question: str, answer: str) -> Row:
    said = (("system", system), ("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def spoilt(clean: list[Row], held: list[Row]) -> tuple[list[bytes], Seeded]:
    """Lines with defects among them, and where each is."""
    rng = random.Random(SEED)
    needed = NUM_DEFECTS * (len(DEFECTS) + len(LEAKS))
    spare, kept = clean[:needed], clean[needed:]
    entries: list[tuple[Defect | None, bytes]] = [(None, raw(row)) for row in kept]
    first = len(kept) // 2  # what repeats a row comes behind it
    made: list[tuple[Defect, bytes]] = []
    for rule, shapes in DEFECTS.items():
        for other, (name, spoil) in zip(
            rng.sample(kept[:first], NUM_DEFECTS), cycle(shapes.items())
        ):
            made.append(((rule, name), _as_line(spoil(spare.pop(), other, rng))))
    for rule, shapes in LEAKS.items():
        for row, (name, spoil) in zip(rng.sample(held, NUM_DEFECTS), cycle(shapes.items())):
            made.append(((rule, name), _as_line(spoil(row, row, rng))))
    for entry in made:
        entries.insert(rng.randrange(first + 1, len(entries)), entry)
    lines: Seeded = defaultdict(set)
    for number, (defect, _) in enumerate(entries, 1):
        if defect is not None:
            lines[defect].add(number)
    return [line for _, line in entries], lines


def _as_line(value: bytes | str | Row) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else raw(value)


def findings(lines: Iterable[bytes], held: Held | None) -> list[tuple[Rule, int | None]]:
    examination = Examination(held=held)
    numbered = whole_lines(line + b"\n" for line in lines)
    return [(f.rule, f.line) for one, line in numbered for f in examination.check(one, line)]


def _print_recall(clean: list[Row], held: list[Row]) -> None:
    lines, seeded = spoilt(clean, held)
    found = findings(lines, held_by(raw(row) + b"\n" for row in held))
    by_rule: dict[Rule, set[int | None]] = defaultdict(set)
    for rule, line in found:
        by_rule[rule].add(line)
    spoilt_lines = set().union(*seeded.values())
    print("| rule | shapes | seeded | found | recall | elsewhere | not always found |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    totals: Counter[str] = Counter()
    for rule in Rule:
        shapes = {name: places for (of, name), places in seeded.items() if of is rule}
        if not shapes:
            continue
        number = sum(map(len, shapes.values()))
        hits = {name: len(places & by_rule[rule]) for name, places in shapes.items()}
        missed = [
            f"{name} ({hits[name]} of {len(places)})"
            for name, places in shapes.items()
            if hits[name] < len(places)
        ]
        elsewhere = len(by_rule[rule] - spoilt_lines)
        share = (
            f"{len(shapes)} | {number} | {sum(hits.values())} | {sum(hits.values()) / number:.0%}"
        )
        print(f"| `{rule}` | {share} | {elsewhere} | {', '.join(missed)} |")
        totals.update(shapes=len(shapes), seeded=number, found=sum(hits.values()))
    shapes_and_seeded = f"{totals['shapes']} | {totals['seeded']:,} | {totals['found']:,}"
    print(f"| all | {shapes_and_seeded} | {totals['found'] / totals['seeded']:.1%} | | |")


def _print_alarms(name: str, clean: list[Row], held: list[Row]) -> None:
    found = findings(map(raw, clean), held_by(raw(row) + b"\n" for row in held))
    counts = Counter(rule for rule, _ in found)
    said = ", ".join(f"`{rule}` {number}" for rule, number in counts.most_common()) or "none"
    print(f"| {name} | {len(clean):,} | {said} |")


def _print_time(name: str, clean: list[Row], held: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, validation = Path(folder) / "rows.jsonl", Path(folder) / "validation.jsonl"
        with file.open("wb") as out:
            for number in range(NUM_LARGE):
                row = clean[number % len(clean)]
                question = f"{row['messages'][1]['content']} ({number // len(clean)})"
                out.write(raw(message(1, content=question)(row, row, random.Random())) + b"\n")  # type: ignore[arg-type]
        validation.write_bytes(b"\n".join(map(raw, held)) + b"\n")
        command = [sys.executable, "-m", "tunesmith", "data", "check", str(file)]
        began_at = time.monotonic()
        done = subprocess.run(
            [*command, "--against", str(validation), "--json"], capture_output=True
        )
        seconds = time.monotonic() - began_at
        if json.loads(done.stdout or b"{}").get("num_examples") != NUM_LARGE:
            sys.exit(f"The rows were not examined: {done.stderr.decode()}")
        print(f"| {name} | {file.stat().st_size / 1e6:.0f} MB | {seconds:.1f} s |")


if __name__ == "__main__":
    main()
