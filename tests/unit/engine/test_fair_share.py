from collections import Counter

import pytest

from tunesmith.engine.fair_share import FairShare


def served(costs: dict[str, int], num_passes: int, room: int = 0) -> tuple[Counter[str], list[str]]:
    """Tokens of each after so many passes, and who went first; all always wait.

    In the room behind who goes first, others go too.
    """
    shares = FairShare()
    tokens: Counter[str] = Counter()
    firsts = []
    for _ in range(num_passes):
        first, *others = shares.in_order(costs)
        chosen = {first: costs[first]}
        for one in others:
            if sum(chosen.values()) + costs[one] <= room:
                chosen[one] = costs[one]
        shares.charge(chosen, costs)
        tokens.update(chosen)
        firsts.append(first)
    return tokens, firsts


def test_large_and_small_batches_get_as_many_tokens() -> None:
    tokens, firsts = served({"large": 2000, "small": 100, "middle": 300}, 3000)
    assert max(tokens.values()) - min(tokens.values()) <= 2 * 2000
    assert firsts.count("small") > 10 * firsts.count("large")


@pytest.mark.parametrize("room", [0, 2048, 4096])
def test_nobody_waits_for_ever(room: int) -> None:
    costs = {"huge": 9000, "large": 1900, "small": 100, "another": 113}
    tokens, _ = served(costs, 2000, room)
    assert min(tokens.values()) > sum(tokens.values()) / 40


def test_who_cannot_use_up_its_share_does_not_save_it_for_ever() -> None:
    shares = FairShare()
    for _ in range(1000):
        shares.charge({"large": 1900, "small": 100}, ["large", "small"])
    waiting = {"large": 1900, "new": 2000}
    firsts = []
    for _ in range(20):
        first = shares.in_order(waiting)[0]
        shares.charge({first: waiting[first]}, waiting)
        firsts.append(first)
    assert 8 <= firsts.count("large") <= 12


def test_a_newcomer_is_not_made_up_for_what_it_missed() -> None:
    shares = FairShare()
    for _ in range(100):
        first = shares.in_order(["a", "b"])[0]
        shares.charge({first: 100}, ["a", "b"])
    firsts = []
    for _ in range(30):
        first = shares.in_order(["a", "b", "new"])[0]
        shares.charge({first: 100}, ["a", "b", "new"])
        firsts.append(first)
    assert {one: firsts.count(one) for one in ("a", "b", "new")} == {"a": 10, "b": 10, "new": 10}


def test_who_is_forgotten_begins_anew() -> None:
    shares = FairShare()
    shares.charge({"a": 100}, ["a", "b"])
    assert shares.in_order(["a", "b"]) == ["b", "a"]
    shares.forget("b")
    shares.forget("a")
    assert shares.in_order(["a", "b"]) == ["a", "b"]
