"""Each shape of fault in the doctor's benchmark is found by its rule, or known not to be."""

import random
from collections import defaultdict
from string import ascii_lowercase

import pytest

from benchmarks import defects, doctor
from tunesmith.domain.rules import Rule

NOT_FOUND = {
    (Rule.CONTRADICTION, "with a word more"),
    (Rule.CONTROL_CHARACTER, "of C1"),  # taken for mojibake
    (Rule.EMAIL, "with at in words"),
    (Rule.PHONE, "digits alone"),
    (Rule.PHONE, "Indian"),
}


def rows(seed: int, number: int) -> list[defects.Row]:
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
    monkeypatch.setattr(doctor, "NUM_DEFECTS", 24)  # as many as a rule has shapes
    held = rows(1, 50)
    lines, seeded = doctor.spoilt(rows(2, 1500), held)
    by_rule: dict[Rule, set[int | None]] = defaultdict(set)
    raw_held = (defects.raw(row) + b"\n" for row in held)
    for rule, line in doctor.findings(lines, doctor.held_by(raw_held)):
        by_rule[rule].add(line)
    missed = {defect for defect, places in seeded.items() if places - by_rule[defect[0]]}
    assert missed == NOT_FOUND
    spoilt_lines = set().union(*seeded.values())
    assert {line for places in by_rule.values() for line in places} <= spoilt_lines
