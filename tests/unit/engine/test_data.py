import hashlib
from array import array
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests.chat_templates import QWEN
from tests.tiny_models import make_tokenizer, write_jsonl
from tunesmith.engine import data
from tunesmith.engine.data import BatchOrder
from tunesmith.engine.errors import BadExample
from tunesmith.engine.examples import Example

GOOD = {"prompt": "the sea is", "completion": " blue"}


def test_line_numbers_count_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"prompt": "a", "completion": "b"}\n\n{"prompt": "a"}\n')
    with pytest.raises(BadExample, match="needs `messages`") as raised:
        data.open_file(path, make_tokenizer(), 100, file="validation").read_on()
    assert raised.value.line == 3
    assert raised.value.file == "validation"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "Not valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"messages": "hi"}', "must be a list"),
        ('{"label": "hi"}', "needs `messages`"),
        ('{"text": 5}', "needs `messages`"),
        ('{"text": ""}', "completion is empty"),
        ('{"instruction": "hi"}', "needs `messages`"),
        ('{"instruction": "hi", "input": 5, "output": "a"}', "needs `messages`"),
        ('{"prompt": "a", "completion": ""}', "completion is empty"),
        ('{"instruction": "hi", "output": ""}', "output is empty"),
    ],
)
def test_a_bad_row_is_named(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(BadExample, match=message):
        data.open_file(path, make_tokenizer(), 100).read_on()


def rows_of(tmp_path: Path, *rows: Any) -> list[Any]:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = QWEN
    return data.open_file(write_jsonl(tmp_path / "r.jsonl", list(rows)), tokenizer, 500).rows


def test_an_instruction_is_a_conversation(tmp_path: Path) -> None:
    said = {"role": "assistant", "content": "blue"}
    about, alone, *conversations = rows_of(
        tmp_path,
        {"instruction": "Colour?", "input": "the sea", "output": "blue"},
        {"instruction": "Colour?", "output": "blue"},
        {"messages": [{"role": "user", "content": "Colour?\n\nthe sea"}, said]},
        {"messages": [{"role": "user", "content": "Colour?"}, said]},
    )
    assert [about, alone] == conversations


def test_of_a_text_all_is_learned_but_its_first_token(tmp_path: Path) -> None:
    (row,) = rows_of(tmp_path, {"text": "the sea is blue"})
    assert len(row.token_ids) > 4
    assert not row.loss_mask[0]
    assert all(row.loss_mask[1:])


def test_a_row_is_read_when_it_is_needed_and_the_first_bad_one_is_told(tmp_path: Path) -> None:
    bad = {"prompt": "a", "completion": ""}
    rows = [*[GOOD] * 150, bad, GOOD, bad]
    dataset = data.open_file(write_jsonl(tmp_path / "rows.jsonl", rows), make_tokenizer(), 100)
    assert len(dataset) == 153
    assert dataset[151] is dataset[151]
    assert [index for index, row in enumerate(dataset.rows_met) if row is not None] == [151]
    assert dataset.read_on().num_rows == 100
    with pytest.raises(BadExample) as raised:
        dataset[152]
    assert raised.value.line == 151
    with pytest.raises(BadExample) as raised:
        dataset.read_on()
    assert raised.value.line == 151
    assert not dataset.is_read


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n")
    with pytest.raises(BadExample, match="no examples"):
        data.open_file(path, make_tokenizer(), 100)


def test_the_mask_certificate_is_over_what_is_learned(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [GOOD, {"prompt": "a", "completion": " b"}])
    dataset = data.open_file(path, make_tokenizer(), 100)
    dataset[1]  # rows may be met in any order before
    dataset.read_on()
    told = b""
    for row in dataset.rows:
        assert isinstance(row, Example)
        told += array("I", [len(row.token_ids), *row.token_ids]).tobytes()
        told += bytes(int(is_learned) for is_learned in row.loss_mask)

    assert dataset.mask_sha256 == hashlib.sha256(told).hexdigest()


def test_another_weight_or_limit_is_another_certificate(tmp_path: Path) -> None:
    def certificate(limit: int, **beside: Any) -> str:
        answers = [
            {"role": "assistant", "content": "blue", **beside},
            {"role": "assistant", "content": "green blue green"},
        ]
        asked = {"role": "user", "content": "the sea"}
        row = {"messages": [asked, answers[0], asked, answers[1]]}
        path = write_jsonl(tmp_path / "rows.jsonl", [row])
        tokenizer = make_tokenizer()
        tokenizer.chat_template = QWEN
        dataset = data.open_file(path, tokenizer, limit)
        dataset.read_on()
        return dataset.mask_sha256

    assert certificate(100) == certificate(100, weight=1)
    assert len({certificate(100), certificate(100, weight=0), certificate(12)}) == 3


def test_what_lies_beyond_the_limit_is_cut_and_counted(tmp_path: Path) -> None:
    rows = [GOOD, {"prompt": "a", "completion": " blue" * 20}]
    dataset = data.open_file(write_jsonl(tmp_path / "rows.jsonl", rows), make_tokenizer(), 12)
    assert [len(example.token_ids) for example in dataset.rows][1] == 12
    assert dataset.num_truncated == 1
    whole = data.open_file(tmp_path / "rows.jsonl", make_tokenizer(), 1000)
    lost = whole.num_supervised_tokens - dataset.num_supervised_tokens
    assert dataset.num_lost_tokens == lost > 0
    assert dataset.num_tokens == sum(len(example.token_ids) for example in dataset.rows)


def test_a_row_whose_learned_tokens_are_all_cut_is_refused(tmp_path: Path) -> None:
    rows = [GOOD, {"prompt": "a long prompt " * 20, "completion": " blue"}]
    with pytest.raises(BadExample, match="limit of 12 tokens") as raised:
        data.open_file(write_jsonl(tmp_path / "rows.jsonl", rows), make_tokenizer(), 12).read_on()
    assert raised.value.line == 2


ANSWER = {"role": "assistant", "content": "blue " * 30}
LONG = {
    "messages": {"messages": [{"role": "user", "content": "hi"}, ANSWER]},
    "instruction": {"instruction": "hi", "output": "blue " * 30},
    "text": {"text": "blue " * 30},
    "prompt": {"prompt": "hi", "completion": "blue " * 30},
}


@pytest.mark.parametrize("form", LONG)
def test_what_a_row_of_any_form_loses_is_counted(form: str, tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [LONG[form]])
    kept, whole = (data.open_file(path, make_tokenizer(), limit) for limit in (20, 1000))
    assert kept.num_supervised_tokens == sum(whole.rows[0].examples[0].loss_mask[:20])
    assert kept.num_tokens == 20
    assert kept.num_truncated == 1
    assert kept.num_lost_tokens == whole.num_supervised_tokens - kept.num_supervised_tokens > 0


@pytest.mark.parametrize("form", ["messages", "instruction", "prompt"])
def test_a_row_of_any_form_that_loses_all_is_refused(form: str, tmp_path: Path) -> None:
    asked = "a long question " * 20
    row: dict[str, Any] = {
        "messages": {"messages": [{"role": "user", "content": asked}, ANSWER]},
        "instruction": {"instruction": asked, "output": "blue"},
        "prompt": {"prompt": asked, "completion": " blue"},
    }[form]
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    with pytest.raises(BadExample, match="limit of 20 tokens"):
        data.open_file(path, make_tokenizer(), 20).read_on()


TOLD_AGAIN = [
    {"role": "user", "content": "the sea?"},
    {"role": "assistant", "content": "blue"},
    {"role": "user", "content": "and the sky above the sea on a day of rain and storm?"},
    {"role": "assistant", "content": "blue"},
]


def test_answers_with_texts_of_their_own_are_counted_cut_and_certified(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = QWEN
    path = write_jsonl(tmp_path / "rows.jsonl", [{"messages": TOLD_AGAIN}])
    whole = data.open_file(path, tokenizer, 500)
    [row] = whole.rows
    first, second = row.examples
    assert whole.num_tokens == len(first.token_ids) + len(second.token_ids)
    assert whole.num_supervised_tokens == sum(first.loss_mask) + sum(second.loss_mask)
    assert whole.num_texts_more == 1
    for turns, text in ((TOLD_AGAIN[:2], first), (TOLD_AGAIN, second)):
        messages = [*({**message, "weight": 0} for message in turns[:-1]), turns[-1]]
        assert rows_of(tmp_path, {"messages": messages}) == [text]

    cut = data.open_file(path, tokenizer, second.loss_mask.index(True))
    assert cut.rows == [first]  # the second would be there with nothing to learn
    assert cut.num_lost_tokens == sum(second.loss_mask)
    assert cut.num_truncated == 1


def test_a_large_file_lets_others_breathe(tmp_path: Path) -> None:
    path = write_jsonl(tmp_path / "rows.jsonl", [GOOD] * 250)
    dataset = data.open_file(path, make_tokenizer(), 100)
    told = []
    while not dataset.is_read:
        told.append(dataset.read_on().num_rows)
    assert told == [100, 200, 250]


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


PREFERENCE = {
    "input": {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "yes?"},
            {"role": "user", "content": "the sea?"},
        ]
    },
    "preferred_output": [{"role": "assistant", "content": "blue and deep"}],
    "non_preferred_output": [{"role": "assistant", "content": "no idea"}],
}


def read_pairs(tmp_path: Path, *rows: Any, limit: int = 100) -> data.Dataset:
    path = write_jsonl(tmp_path / "rows.jsonl", list(rows))
    return data.open_file(path, make_tokenizer(), limit, method="dpo")


def test_of_a_preference_the_two_answers_are_learned_from(tmp_path: Path) -> None:
    dataset = read_pairs(tmp_path, PREFERENCE)
    [pair] = dataset.rows
    tokenizer = make_tokenizer()
    texts = []
    for example in pair.examples:
        first = example.loss_mask.index(True)
        assert all(example.loss_mask[first:-1])
        assert "yes?" in tokenizer.decode(example.token_ids[:first])
        texts.append(tokenizer.decode(example.token_ids[first:]).strip())
    assert texts == ["blue and deep<|end|>", "no idea<|end|>"]
    assert dataset.num_tokens == sum(len(example.token_ids) for example in pair.examples)


def test_both_spellings_of_a_preference_are_the_same(tmp_path: Path) -> None:
    older = {
        "input": PREFERENCE["input"],
        "preferred_completion": PREFERENCE["preferred_output"],
        "non_preferred_completion": PREFERENCE["non_preferred_output"],
    }
    first, second = read_pairs(tmp_path, PREFERENCE, older).rows
    assert first.examples == second.examples


def test_a_pair_of_which_one_answer_is_cut_counts_once(tmp_path: Path) -> None:
    long = {**PREFERENCE, "preferred_output": [{"role": "assistant", "content": "blue " * 50}]}
    dataset = read_pairs(tmp_path, PREFERENCE, long, limit=60)
    assert len(dataset.rows[1].examples[0].token_ids) == 60
    assert dataset.num_truncated == 1


def with_answers(chosen: str, rejected: str, **of_chosen: Any) -> dict[str, Any]:
    return {
        **PREFERENCE,
        "preferred_output": [{"role": "assistant", "content": chosen, **of_chosen}],
        "non_preferred_output": [{"role": "assistant", "content": rejected}],
    }


def test_what_both_answers_of_a_pair_lose_is_counted(tmp_path: Path) -> None:
    row = with_answers("blue " * 50, "no idea " * 50)
    whole = read_pairs(tmp_path, row, limit=1000)
    lost = [sum(example.loss_mask[60:]) for example in whole.rows[0].examples]
    kept = read_pairs(tmp_path, row, limit=60)
    assert [len(example.token_ids) for example in kept.rows[0].examples] == [60, 60]
    assert kept.num_lost_tokens == sum(lost)
    assert min(lost) > 0
    assert whole.num_lost_tokens == 0


@pytest.mark.parametrize("which", [0, 1])
def test_a_pair_that_loses_one_answer_is_refused(which: int, tmp_path: Path) -> None:
    words = ["blue", "no"]
    words[which] = "long"
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (  # one that writes more before one answer than before the other
        "{% for m in messages %}<|{{ m.role }}|>{{ '-' * 99 if 'long' in m.content }}"
        "{{ m.content }}<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>?{% endif %}"
    )
    path = write_jsonl(tmp_path / "rows.jsonl", [with_answers(*words)])
    assert len(data.open_file(path, tokenizer, 500, method="dpo").rows) == 1
    with pytest.raises(BadExample, match=r"one of its answers has \d+"):
        data.open_file(path, tokenizer, 40, method="dpo").read_on()


def test_a_pair_whose_answers_differ_beyond_the_limit_alone_is_refused(tmp_path: Path) -> None:
    row = with_answers("blue " * 50 + "yes", "blue " * 50 + "no")
    assert len(read_pairs(tmp_path, row, limit=1000).rows) == 1
    with pytest.raises(BadExample, match="differ beyond the limit of 60 tokens"):
        read_pairs(tmp_path, row, limit=60).read_on()


def test_the_tools_of_a_preference_stand_in_both_prompts(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = QWEN
    look = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    row = {**PREFERENCE, "input": {**PREFERENCE["input"], "tools": [look]}}
    path = write_jsonl(tmp_path / "rows.jsonl", [row])
    [pair] = data.open_file(path, tokenizer, 500, method="dpo").rows
    for example in pair.examples:
        prompt = tokenizer.decode(example.token_ids[: example.loss_mask.index(True)])
        assert '"name": "look"' in prompt


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (with_answers("yes", "no", weight=0), "no `weight`"),
        (
            {
                **PREFERENCE,
                "input": {
                    "messages": [
                        {"role": "user", "content": "hi"},
                        {"role": "assistant", "content": "yes?", "weight": 0.5},
                        {"role": "user", "content": "the sea?"},
                    ]
                },
            },
            "no `weight`",
        ),
        (
            {**PREFERENCE, "input": {**PREFERENCE["input"], "functions": [{"name": "look"}]}},
            "not the older `functions`",
        ),
        (GOOD, "needs `input`"),
        ({**PREFERENCE, "preferred_output": []}, "one assistant message"),
        ({"input": PREFERENCE["input"]}, "`preferred_output` must be a list"),
    ],
)
def test_a_bad_preference_is_named(row: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(BadExample, match=message) as raised:
        read_pairs(tmp_path, PREFERENCE, row).read_on()
    assert raised.value.line == 2


def test_functions_are_tools_under_their_old_name(tmp_path: Path) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = QWEN
    look = {"name": "look", "parameters": {"type": "object"}}
    messages = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yes"}]
    rows = [
        {"messages": messages, "functions": [look]},
        {"messages": messages, "tools": [{"type": "function", "function": look}]},
    ]
    path = write_jsonl(tmp_path / "rows.jsonl", rows)
    first, second = data.open_file(path, tokenizer, 500).rows
    assert first == second
    assert isinstance(first, Example)
    assert '"name": "look"' in tokenizer.decode(first.token_ids)
