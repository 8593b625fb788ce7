"""The checker finds each kind of damage, and none where there is none."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from tests.torture.checker import Facts, JobFacts, Told, violations


def job(name: str = "one", **changes: Any) -> JobFacts:
    fields: dict[str, Any] = {
        "name": name,
        "recipe": "r",
        "status": "succeeded",
        "steps": [1, 2, 3],
        "total_steps": 3,
        "tokens": 30,
        "tokens_counted": 30,
        "num_successes": 1,
        "num_models": 1,
        "num_results": 3,
        "adapter": "abc",
        "attempts": 4,
        "is_ordered": True,
    }
    return JobFacts(**fields | changes)


GOOD = Facts(
    jobs=[job("one"), job("two")],
    unbroken={"r": "abc"},
    num_waiting=0,
    tokens_by_day=90,
    tokens_of_steps=90,
    database=[],
    blobs=[],
    num_blobs=9,
)


def told() -> Told:
    return Told(acknowledged={"one", "two"}, idle_seconds={"one": 60.0})


def of_first(**changes: Any) -> Callable[[Told, Facts], None]:
    def damage(_: Told, facts: Facts) -> None:
        facts.jobs[0] = job("one", **changes)

    return damage


def test_nothing_is_found_where_all_is_well() -> None:
    assert violations(told(), GOOD) == []


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda _, facts: facts.jobs.pop(), "two: it was acknowledged, and is gone"),
        (lambda _, facts: facts.jobs.append(job("two")), "two: there are 2 of it"),
        (lambda _, facts: facts.jobs.append(job("three")), "three: nobody was told of it"),
        (lambda told, _: told.idle_seconds.update(one=121.0), "nothing was heard of it for 121 s"),
        (lambda told, _: told.complaints.append("500 on POST /v1/files"), "500 on POST"),
        (lambda _, facts: setattr(facts, "num_waiting", 1), "1 entries of the queue are left"),
        (lambda _, facts: setattr(facts, "tokens_by_day", 100), "90 tokens were trained, 100"),
        (lambda _, facts: facts.database.append("row 3 missing"), "row 3 missing"),
        (lambda _, facts: facts.blobs.append("blob a has other bytes"), "blob a has other bytes"),
        (of_first(status="paused"), "one: it is paused"),
        (of_first(steps=[1, 2, 2, 3]), "steps doubled [2], missing []"),
        (of_first(steps=[1, 3]), "steps doubled [], missing [2]"),
        (of_first(steps=[1, 3, 2]), "or out of order"),
        (of_first(num_successes=2), "one: 2 times at its end"),
        (of_first(num_models=2), "with 2 models"),
        (of_first(num_results=4), "4 rows of results for 3 steps"),
        (of_first(tokens_counted=40), "one: 30 tokens were trained, 40 were counted"),
        (of_first(is_ordered=False), "its events are not in order"),
        (of_first(adapter="abd"), "its weights differ from those of an unbroken run"),
        (of_first(recipe="s"), "there is no unbroken run"),
    ],
)
def test_damage_is_found(damage: Callable[[Told, Facts], None], found: str) -> None:
    heard, facts = told(), deepcopy(GOOD)
    damage(heard, facts)
    (wrong,) = violations(heard, facts)
    assert found in wrong
