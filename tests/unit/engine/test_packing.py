import random

from tunesmith.engine.examples import Example, Pair, Row
from tunesmith.engine.packing import PackedBatch, pack, pack_singly

HEAD = list(range(100, 140))
END = 9  # the last target: nobody reads it, so it is in no stream


def example(*token_ids: int, learned: int) -> Example:
    """The last `learned` tokens are supervised, and an end behind them."""
    count = len(token_ids)
    return Example([*token_ids, END], [i >= count - learned for i in range(count + 1)])


def test_what_nobody_reads_is_in_no_stream() -> None:
    unread = Example([1, 2, 3, 4, 5, 6], [False, False, True, True, False, False])
    unlearned = Example([7, 8], [False, False])
    batches = [*pack([unread, unlearned], 1000), *pack_singly([unread, unlearned])]
    assert [batch.token_ids for batch in batches] == [[1, 2, 3, 7], [1, 2, 3], [7]]
    assert batches[0].targets == [3, 4]
    assert batches[0].num_targets == [2, 0]


def test_a_long_shared_prefix_stands_once() -> None:
    examples = [example(*HEAD, n, 7, learned=1) for n in range(3)]
    [batch] = pack(examples, 1000)
    assert batch.token_ids == [*HEAD, 0, 7, 1, 7, 2, 7]
    assert batch.position_ids == [*range(40), 40, 41, 40, 41, 40, 41]
    assert [(s.start, s.end) for s in batch.segments] == [(0, 40), (40, 42), (42, 44), (44, 46)]
    assert batch.logit_positions == [40, 41, 42, 43, 44, 45]
    assert batch.targets == [7, END] * 3


def test_a_short_shared_prefix_is_not_worth_it() -> None:
    examples = [example(*HEAD[:20], n, learned=1) for n in range(3)]
    [batch] = pack(examples, 1000)
    assert len(batch.segments) == 3


def test_targets_right_behind_the_prefix_are_all_predicted_from_its_last_token() -> None:
    [batch] = pack([example(*HEAD, n, 7, learned=2) for n in range(3)], 1000)
    assert batch.logit_positions == [39, 40, 41, 42, 43, 44, 45]
    assert batch.target_rows == [0, 1, 2, 0, 3, 4, 0, 5, 6]
    assert batch.targets == [0, 7, END, 1, 7, END, 2, 7, END]


def test_a_supervised_token_that_is_shared_is_a_target_of_each_text() -> None:
    [batch] = pack([example(*HEAD, 1, n, learned=3) for n in range(2)], 1000)
    assert batch.token_ids == [*HEAD, 1, 0, 1]
    assert batch.logit_positions == [38, 39, 40, 41, 42]
    assert batch.target_rows == [0, 1, 2, 3, 0, 1, 2, 4]
    assert batch.targets == [139, 1, 0, END, 139, 1, 1, END]


def test_identical_examples_stand_once_and_are_all_learned_from() -> None:
    [batch] = pack([example(*HEAD, 1, 2, learned=2)] * 3, 1000)
    assert batch.token_ids == [*HEAD, 1, 2]
    assert batch.targets == [1, 2, END] * 3
    assert len(batch.rows) == 3


def test_what_some_share_stands_behind_what_all_share() -> None:
    branch = list(range(200, 240))
    examples = [example(*HEAD, *branch, n, learned=1) for n in range(2)]
    examples += [example(*HEAD, n, learned=1) for n in (300, 301)]
    [batch] = pack(examples, 1000)
    assert batch.token_ids == [*HEAD, *branch, 0, 1, 300, 301]
    assert [prefix_numbers(batch, n) for n in range(6)] == [[], [0], [0, 1], [0, 1], [0], [0]]


def test_every_token_has_the_tokens_before_it_that_its_text_has() -> None:
    """Random texts of few different tokens, so that they share in many ways."""
    chance = random.Random(1)
    for _ in range(20):
        heads = [[chance.randrange(3) for _ in range(90)] for _ in range(3)]
        rows: list[Row] = []
        for number in range(12):
            head = heads[chance.randrange(3)][: chance.randrange(90)]
            tail = [chance.randrange(3) for _ in range(1 + chance.randrange(5))]
            text = example(5, *head, *tail, learned=1 + chance.randrange(len(tail)))
            other = example(5, *head, number, learned=1)
            rows.append(text if number % 2 else Pair(text, other))
        found = [text for batch in pack(rows, 150) for text in texts_of(batch)]
        expected = [
            (
                e.token_ids,
                [t for t, is_learned in zip(e.token_ids, e.loss_mask, strict=True) if is_learned],
            )
            for row in rows
            for e in row.examples
        ]
        assert sorted(found) == sorted(expected)


def prefix_numbers(batch: PackedBatch, number: int) -> list[int]:
    prefix = batch.segments[number].prefix
    if prefix is None:
        return []
    found = batch.segments.index(prefix)
    return [*prefix_numbers(batch, found), found]


def texts_of(batch: PackedBatch) -> list[tuple[list[int], list[int]]]:
    """Each text's tokens up to its last target, as attention sees them, and its targets."""
    texts = []
    start = 0
    for count in batch.num_targets:
        rows = batch.target_rows[start : start + count]
        targets = batch.targets[start : start + count]
        start += count
        last = batch.logit_positions[rows[-1]]
        [number] = [n for n, s in enumerate(batch.segments) if s.start <= last < s.end]
        path = [batch.segments[n] for n in prefix_numbers(batch, number)]
        positions = [p for s in path for p in range(s.start, s.end)]
        positions += range(batch.segments[number].start, last + 1)
        assert [batch.position_ids[p] for p in positions] == [*range(len(positions))]
        assert [batch.logit_positions[row] for row in rows] == positions[-count:]
        texts.append(([batch.token_ids[p] for p in positions] + targets[-1:], targets))
    return texts


def test_a_micro_batch_keeps_to_its_tokens_and_repeats_the_prefix() -> None:
    examples = [example(*HEAD, n, 7, learned=1) for n in range(10)]
    batches = pack(examples, 46)
    assert [len(batch.token_ids) for batch in batches] == [46, 46, 46, 42]
    assert sum(len(batch.num_targets) for batch in batches) == 10
    assert [len(batch.segments) for batch in batches] == [4, 4, 4, 1]


def test_micro_batches_are_of_about_the_same_size() -> None:
    examples = [example(*range(100 * n, 100 * n + 31), learned=1) for n in range(10)]
    assert [len(batch.token_ids) for batch in pack(examples, 210)] == [155, 155]
    assert [len(batch.token_ids) for batch in pack(examples, 100)] == [93, 93, 93, 31]


def test_an_example_longer_than_a_micro_batch_goes_alone() -> None:
    long = example(*range(200), learned=1)
    short = [example(n, n + 1, learned=1) for n in (300, 310)]
    assert [len(batch.token_ids) for batch in pack([*short, long], 50)] == [200, 4]


def test_micro_batches_are_cut_where_little_is_shared() -> None:
    branches = [[*HEAD, *range(200 + 100 * b, 260 + 100 * b)] for b in range(2)]
    examples = [example(*branches[n % 2], n, learned=1) for n in range(8)]
    batches = pack(examples, 110)
    assert [len(batch.token_ids) for batch in batches] == [104, 104]


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
    assert batch.logit_positions == [2, 3, 4, 5]
    assert batch.target_rows == [0, 1, 0, 2, 3]
    assert batch.targets == [500, END, 600, 7, END]
    assert batch.num_targets == [2, 3]


def test_what_pairs_share_stands_once_and_behind_it_each_ones_own_prompt() -> None:
    pairs = [pair(*HEAD, n, number=n) for n in range(2)]
    [batch] = pack(pairs, 1000)
    assert batch.token_ids == [*HEAD, 0, 500, 600, 7, 1, 501, 601, 7]
    system, first, chosen, rejected, *_ = batch.segments
    assert (first.prefix, chosen.prefix, rejected.prefix) == (system, first, first)
    assert batch.rows == pairs
    assert batch.num_targets == [2, 3, 2, 3]


def test_answers_to_one_prompt_stand_right_behind_it() -> None:
    [batch] = pack([pair(*HEAD, number=n) for n in range(2)], 1000)
    assert batch.token_ids == [*HEAD, 500, 600, 7, 501, 601, 7]
    assert {segment.prefix for segment in batch.segments[1:]} == {batch.segments[0]}
    assert batch.target_rows == [0, 1, 0, 2, 3, 0, 4, 0, 5, 6]


def test_a_pair_is_never_torn() -> None:
    batches = pack([pair(*HEAD, n, number=n) for n in range(5)], 50)
    assert [len(batch.rows) for batch in batches] == [2, 2, 1]
    assert all(len(batch.token_ids) <= 50 for batch in batches)
    singly = pack_singly([pair(*HEAD)])
    assert [len(batch.segments) for batch in singly] == [2]
    assert singly[0].is_separate


def test_answers_that_begin_alike_share_that_too() -> None:
    alike = Pair(example(*HEAD, 1, 2, learned=2), example(*HEAD, 1, 3, learned=2))
    [batch] = pack([alike], 1000)
    assert batch.token_ids == [*HEAD, 1, 2, 3]
    assert batch.target_rows == [0, 1, 2, 0, 1, 3]
    assert batch.targets == [1, 2, END, 1, 3, END]


def test_without_sharing_the_prompt_of_a_pair_stands_twice() -> None:
    [batch] = pack([pair(1, 2, 3)], 1000, shares_prefixes=False)
    assert batch.token_ids == [1, 2, 3, 500, 1, 2, 3, 600, 7]
    assert all(segment.prefix is None for segment in batch.segments)
