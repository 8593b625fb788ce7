import json

import pytest

from tunesmith.doctor.examination import Examination, held_by
from tunesmith.domain.rules import Rule

STORY = (
    "Natalia sold clips to 48 of her friends in April, and then she sold half as many clips in "
    "May. How many clips did Natalia sell altogether in April and May?"
)


def row(question: str) -> bytes:
    messages = [
        {"role": "system", "content": "You are a patient teacher of mathematics."},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "She sold 72 clips in all."},
    ]
    return json.dumps({"messages": messages}).encode() + b"\n"


@pytest.mark.parametrize(
    ("training", "rule"),
    [
        (STORY, Rule.LEAK_EXACT),
        (STORY.upper().replace(",", ""), Rule.LEAK_NORMALISED),
        (STORY.replace("friends", "neighbours"), Rule.LEAK_NEAR),
        ("Weng earns $12 an hour. How much does she earn in 50 minutes?", None),
    ],
)
def test_rows_that_the_validation_file_knows(training: str, rule: Rule | None) -> None:
    held = held_by([row("Something else entirely?"), b"{broken\n", row(STORY)])
    findings = list(Examination(held=held).check(row(training), 7))

    assert [finding.rule for finding in findings] == ([rule] if rule else [])
    assert all((finding.line, finding.seen) == (7, 3) for finding in findings)
