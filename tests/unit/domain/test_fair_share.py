"""Who is next, in a world of slots and jobs that take their time."""

import random
from collections import Counter
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.factories import NOW
from tunesmith.domain.fair_share import (
    MAX_PASSED_OVER,
    Candidate,
    Capacity,
    Hold,
    Standing,
    choose,
    in_order,
)
from tunesmith.domain.jobs import Task
from tunesmith.domain.quotas import Quota

A, B, C = (uuid4() for _ in range(3))


def candidate(owner: UUID, seq: int, **changes: object) -> Candidate:
    fields = {"task": Task.TRAIN, "priority": 3, "base_model": "base"} | changes
    return Candidate(organization_id=owner, seq=seq, **fields)  # type: ignore[arg-type]


def chosen(*candidates: Candidate, resident=(), system_time=0.0, **standings: Standing):
    known = {owner: Standing(quota=Quota()) for owner in (A, B, C)}
    known |= {{"a": A, "b": B, "c": C}[name]: standing for name, standing in standings.items()}
    choice = choose(candidates, known, system_time, Capacity(resident=frozenset(resident)), NOW)
    assert choice is not None
    return choice.next


def test_of_equals_the_oldest_is_next() -> None:
    first, second = candidate(A, 1), candidate(B, 2)
    assert chosen(second, first) == first


def test_a_higher_priority_is_next_whatever_was_had() -> None:
    urgent = candidate(B, 2, priority=5)
    assert chosen(candidate(A, 1), urgent, b=Standing(quota=Quota(), virtual_time=1e6)) == urgent


def test_who_had_less_is_next() -> None:
    later = candidate(B, 2)
    assert chosen(candidate(A, 1), later, a=Standing(quota=Quota(), virtual_time=9)) == later


def test_a_lease_counts_from_its_first_moment() -> None:
    later = candidate(B, 2)
    assert chosen(candidate(A, 1), later, a=Standing(quota=Quota(), num_leases=1)) == later


def test_whoever_was_idle_has_saved_nothing_up() -> None:
    idle, busy = Standing(quota=Quota()), Standing(quota=Quota(), virtual_time=500.0)
    older = candidate(A, 1)
    assert chosen(older, candidate(B, 2), system_time=500.0, a=busy, b=idle) == older


@pytest.mark.parametrize(
    ("standing", "hold"),
    [
        (Standing(quota=Quota(max_running_jobs=2), num_running_jobs=2), Hold.RUNNING_JOBS),
        (Standing(quota=Quota(max_running_jobs=0)), Hold.RUNNING_JOBS),
        (Standing(quota=Quota(max_tokens_per_day=9), tokens_today=9), Hold.TOKENS_PER_DAY),
        (Standing(quota=Quota(max_running_jobs=2), num_running_jobs=1), None),
        (Standing(quota=Quota(max_tokens_per_day=9), tokens_today=8), None),
    ],
)
def test_who_has_all_of_a_quota_waits_for_others_turns(
    standing: Standing, hold: Hold | None
) -> None:
    assert standing.held_by(Task.TRAIN) is hold
    assert standing.held_by(Task.VALIDATE) is None
    other = candidate(B, 2)
    assert chosen(candidate(A, 1), other, a=standing).organization_id == (B if hold else A)


def test_a_job_for_a_resident_base_model_comes_before_the_first_in_line() -> None:
    first, fitting = candidate(A, 1), candidate(B, 2, base_model="here")
    assert chosen(first, fitting, resident=["here"]) == fitting


def test_but_not_before_one_of_higher_priority() -> None:
    first, fitting = candidate(A, 1, priority=4), candidate(B, 2, base_model="here")
    assert chosen(first, fitting, resident=["here"]) == first


def test_nobody_is_passed_over_for_long() -> None:
    fitting = candidate(B, 2, base_model="here")
    for seconds, expected in ((-1, fitting.seq), (0, 1)):
        since = NOW - MAX_PASSED_OVER - timedelta(seconds=seconds)
        first = candidate(A, 1, passed_over_at=since)
        assert chosen(first, fitting, resident=["here"]).seq == expected


def shares(weights: dict[UUID, float], slots: int, seconds: tuple[float, float], seed: int):
    """The time that each organization has had, all of them with work without end."""
    rng = random.Random(seed)
    quotas = {owner: Quota(weight=weight) for owner, weight in weights.items()}
    virtual_time: Counter[UUID] = Counter()
    had: Counter[UUID] = Counter()
    running: list[tuple[float, float, UUID]] = []  # end, start, owner
    now = system_time = 0.0
    while now < 400 * sum(seconds) / slots:
        while len(running) < slots:
            mine = {o: [start for _, start, its in running if its == o] for o in weights}
            standings = {
                o: Standing(
                    quota=quotas[o],
                    virtual_time=virtual_time[o],
                    num_leases=len(mine[o]),
                    lease_seconds=sum(now - start for start in mine[o]),
                )
                for o in weights
            }
            waiting = [candidate(o, place) for place, o in enumerate(weights)]
            choice = choose(waiting, standings, system_time, Capacity(), NOW)
            assert choice is not None
            owner = choice.next.organization_id
            virtual_time[owner] = standings[owner].lifted(system_time)
            system_time = choice.system_time
            running.append((now + rng.uniform(*seconds), now, owner))
        running.sort()
        now, start, owner = running.pop(0)
        had[owner] += now - start
        virtual_time[owner] += (now - start) / weights[owner]
    return {owner: time / had.total() for owner, time in had.items()}


@pytest.mark.parametrize("slots", [1, 2, 8])
@pytest.mark.parametrize("seconds", [(5.0, 15.0), (60.0, 600.0), (3600.0, 36000.0)])
def test_time_is_shared_by_weight(slots: int, seconds: tuple[float, float]) -> None:
    """Within a tenth, where there are slots enough to be shared so."""
    weights = {A: 1.0, B: 2.0, C: 1.0}
    measured = shares(weights, slots, seconds, seed=1)
    for owner, weight in weights.items():
        assert measured[owner] == pytest.approx(weight / 4, rel=0.1)


def test_positions_are_the_order_in_which_jobs_would_begin() -> None:
    waiting = [candidate(A, seq) for seq in range(1, 5)] + [candidate(B, 5), candidate(B, 6)]
    waiting.append(candidate(C, 7, priority=5))
    standings = {owner: Standing(quota=Quota()) for owner in (A, B, C)}
    assert [c.seq for c in in_order(waiting, standings, 0.0)] == [7, 1, 5, 2, 6, 3, 4]
