from itertools import chain
from pathlib import Path

import pytest

from tests.generators import returned
from tests.tiny_models import make_tokenizer, write_jsonl
from tunesmith.engine import data
from tunesmith.engine.data import BatchOrder
from tunesmith.engine.errors import BadExample

GOOD = {"prompt": "the sea is", "completion": " blue"}


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n\n{"prompt": "a"}\n')
    with pytest.raises(BadExample, match="needs `messages`") as raised:
        returned(data.read(path, make_tokenizer(), 100, file="validation"))
    assert raised.value.line == 3
    assert raised.value.file == "validation"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"messages": "hi"}', "must be a list"),
        ('{"text": "hi"}', "needs `messages`"),
        ('{"prompt": "a", "completion": ""}', "completion is empty"),
    ],
)
def test_a_bad_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BadExample, match=message):
        returned(data.read(path, make_tokenizer(), 100))


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    with pytest.raises(BadExample, match="no examples"):
        returned(data.read(path, make_tokenizer(), 100))


def test_what_lies_beyond_the_limit_is_cut_and_counted(tmp_path: Path) -> None:
    rows = [GOOD, {"prompt": "a", "completion": " blue" * 20}]
    dataset = returned(data.read(write_jsonl(tmp_path / "rows.jsonl", rows), make_tokenizer(), 12))
    assert [len(example.token_ids) for example in dataset.rows][1] == 12
    assert dataset.num_truncated == 1
    assert dataset.num_tokens == sum(len(example.token_ids) for example in dataset.rows)


def test_a_row_whose_learned_tokens_are_all_cut_is_refused(tmp_path: Path) -> None:
    rows = [GOOD, {"prompt": "a long prompt " * 20, "completion": " blue"}]
    with pytest.raises(BadExample, match="limit of 12 tokens") as raised:
        returned(data.read(write_jsonl(tmp_path / "rows.jsonl", rows), make_tokenizer(), 12))
    assert raised.value.line == 2


def test_a_large_file_lets_others_breathe(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [GOOD] * 250)
    assert [told.num_rows for told in data.read(path, make_tokenizer(), 100)] == [100, 200]


def test_each_epoch_meets_every_example_once_in_an_order_of_its_own() -> None:
    order = BatchOrder(num_examples=10, batch_size=4, num_epochs=2, seed=5)
    assert order.total_steps == 6
    batches = [order.batch(step) for step in range(1, 7)]
    assert [len(batch) for batch in batches] == [4, 4, 2, 4, 4, 2]
    first, second = list(chain(*batches[:3])), list(chain(*batches[3:]))
    assert sorted(first) == sorted(second) == list(range(10))
    assert first != second
    assert batches == [order.batch(step) for step in range(1, 7)]
    assert [order.epoch_ended_by(step) for step in range(1, 7)] == [None, None, 1, None, None, 2]
