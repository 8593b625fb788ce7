from tunesmith.engine.examples import Example, Pair
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


def pair(*prompt: int, number: int = 0) -> Pair:
    """Answers of one and of two tokens."""
    return Pair(
        example(*prompt, 500 + number, learned=1), example(*prompt, 600 + number, 7, learned=2)
    )


def test_the_prompt_of_a_pair_stands_once_however_short() -> None:
    [batch] = pack([pair(1, 2, 3)], 1000)
    assert batch.token_ids == [1, 2, 3, 500, 600, 7]
    assert batch.position_ids == [0, 1, 2, 3, 3, 4]
    assert batch.logit_positions == [2, 4]
    assert batch.target_rows == [0, 0, 1]
    assert batch.targets == [500, 600, 7]
    assert batch.num_targets == [1, 2]


def test_what_pairs_share_stands_once_and_behind_it_each_ones_own_prompt() -> None:
    pairs = [pair(*HEAD, n, number=n) for n in range(2)]
    [batch] = pack(pairs, 1000)
    assert batch.token_ids == [*HEAD, 0, 500, 600, 7, 1, 501, 601, 7]
    system, first, chosen, rejected, *_ = batch.segments
    assert (first.prefix, chosen.prefix, rejected.prefix) == (system, first, first)
    assert batch.rows == pairs
    assert batch.num_targets == [1, 2, 1, 2]


def test_answers_to_one_prompt_stand_right_behind_it() -> None:
    [batch] = pack([pair(*HEAD, number=n) for n in range(2)], 1000)
    assert batch.token_ids == [*HEAD, 500, 600, 7, 501, 601, 7]
    assert {segment.prefix for segment in batch.segments[1:]} == {batch.segments[0]}
    assert batch.target_rows == [0, 0, 1, 0, 0, 2]


def test_a_pair_is_never_torn() -> None:
    batches = pack([pair(*HEAD, n, number=n) for n in range(5)], 50)
    assert [len(batch.rows) for batch in batches] == [2, 2, 1]
    assert all(len(batch.token_ids) <= 50 for batch in batches)
    singly = pack_singly([pair(*HEAD)])
    assert [len(batch.segments) for batch in singly] == [2]
    assert singly[0].is_separate


def test_answers_that_begin_alike_share_no_more_than_their_prompt() -> None:
    alike = Pair(example(*HEAD, 1, 2, learned=2), example(*HEAD, 1, 3, learned=2))
    [batch] = pack([alike], 1000)
    assert batch.token_ids == [*HEAD, 1, 2, 1, 3]
    assert batch.targets == [1, 2, 1, 3]


def test_without_sharing_the_prompt_of_a_pair_stands_twice() -> None:
    [batch] = pack([pair(1, 2, 3)], 1000, shares_prefixes=False)
    assert batch.token_ids == [1, 2, 3, 500, 1, 2, 3, 600, 7]
    assert all(segment.prefix is None for segment in batch.segments)
