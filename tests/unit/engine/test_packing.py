from tunesmith.engine.examples import Example
from tunesmith.engine.packing import group_by_prefix, pack, pack_singly

HEAD = list(range(100, 140))


def example(*token_ids: int, learned: int) -> Example:
    """The last `learned` tokens are supervised."""
    count = len(token_ids)
    return Example(list(token_ids), [i >= count - learned for i in range(count)])


def test_a_long_shared_prefix_stands_once() -> None:
    examples = [example(*HEAD, n, 7, learned=1) for n in range(3)]
    [batch] = pack(examples, 1000)
    assert batch.token_ids == [*HEAD, 0, 7, 1, 7, 2, 7]
    assert batch.position_ids == [*range(40), 40, 41, 40, 41, 40, 41]
    assert [(s.start, s.end) for s in batch.segments] == [(0, 40), (40, 42), (42, 44), (44, 46)]
    assert batch.logit_positions == [40, 42, 44]
    assert batch.targets == [7, 7, 7]


def test_a_short_shared_prefix_is_not_worth_it() -> None:
    examples = [example(*HEAD[:20], n, learned=1) for n in range(3)]
    assert all(group.num_shared == 0 for group in group_by_prefix(examples))


def test_targets_right_behind_the_prefix_are_all_predicted_from_its_last_token() -> None:
    [batch] = pack([example(*HEAD, n, 7, learned=2) for n in range(3)], 1000)
    assert batch.logit_positions == [39, 40, 42, 44]
    assert batch.target_rows == [0, 1, 0, 2, 0, 3]
    assert batch.targets == [0, 7, 1, 7, 2, 7]


def test_a_supervised_token_is_never_shared() -> None:
    examples = [example(*HEAD, 1, n, learned=3) for n in range(2)]
    [group] = group_by_prefix(examples)
    assert group.num_shared == 39  # though 41 tokens are the same


def test_identical_examples_are_all_learned_from() -> None:
    [batch] = pack([example(*HEAD, 1, 2, learned=2)] * 3, 1000)
    assert batch.targets == [1, 2] * 3


def test_a_micro_batch_keeps_to_its_tokens_and_repeats_the_prefix() -> None:
    examples = [example(*HEAD, n, 7, learned=1) for n in range(10)]
    batches = pack(examples, 46)
    assert [len(batch.token_ids) for batch in batches] == [46, 46, 46, 42]
    assert sum(len(batch.targets) for batch in batches) == 10
    assert [len(batch.segments) for batch in batches] == [4, 4, 4, 1]


def test_an_example_longer_than_a_micro_batch_goes_alone() -> None:
    long = example(*range(200), learned=1)
    short = [example(n, n + 1, learned=1) for n in (300, 310)]
    assert [len(batch.token_ids) for batch in pack([*short, long], 50)] == [200, 4]


def test_a_group_does_not_give_up_a_long_prefix_for_one_more_member() -> None:
    examples = [example(*HEAD, *range(50), n, learned=1) for n in (500, 501, 502)]
    other = example(*HEAD[:33], 9, learned=1)
    groups = group_by_prefix([*examples, other])
    assert sorted((len(group.units), group.num_shared) for group in groups) == [(1, 0), (3, 90)]


def test_without_sharing_every_example_stands_alone_in_the_stream() -> None:
    examples = [example(*HEAD, n, learned=1) for n in range(3)]
    [batch] = pack(examples, 1000, shares_prefixes=False)
    assert len(batch.token_ids) == 123
    assert batch.position_ids == [*range(41)] * 3
    assert [len(single.segments) for single in pack_singly(examples)] == [1, 1, 1]
