"""Each kind of fault that the doctor's benchmark puts in is found, by its rule and in its line."""

import random
from collections import defaultdict
from string import ascii_lowercase

import pytest

from benchmarks import doctor
from tunesmith.domain.rules import Rule


def rows(seed: int, number: int) -> list[doctor.Row]:
    """Words of chance, no two rows alike."""
    rng = random.Random(seed)
    made = []
    for _ in range(number):
        words = ["".join(rng.choices(ascii_lowercase, k=6)) for _ in range(24)]
        made.append(doctor._chat("Repeat.", f"Say {' '.join(words)}.", " ".join(words)))
    return made


def test_every_defect_is_found_by_its_rule_and_what_is_clean_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(doctor, "NUM_DEFECTS", 3)
    held = rows(1, 50)
    lines, seeded = doctor.spoilt(rows(2, 400), held)
    by_rule: dict[Rule, set[int | None]] = defaultdict(set)
    raw_held = (doctor._raw(row) + b"\n" for row in held)
    for rule, line in doctor.findings(lines, doctor.held_by(raw_held)):
        by_rule[rule].add(line)
    assert {rule: places - by_rule[rule] for rule, places in seeded.items()} == {
        rule: set() for rule in seeded
    }
    spoilt_lines = set().union(*seeded.values())
    assert {line for places in by_rule.values() for line in places} <= spoilt_lines
