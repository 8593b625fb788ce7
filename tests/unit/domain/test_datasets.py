import json
from typing import Any

import pytest

from tests.factories import conversation, json_lines
from tunesmith.domain import datasets
from tunesmith.domain.datasets import check_training_lines, require_enough_examples
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.hyperparameters import Method

GOOD = conversation()
PAIR = {"prompt": "2+2=", "completion": "4"}


def refusal(lines: list[bytes]) -> InvalidTrainingData:
    with pytest.raises(InvalidTrainingData) as refused:
        check_training_lines(lines)
    return refused.value


def test_conversations_are_counted() -> None:
    assert check_training_lines(json_lines(GOOD, GOOD)).num_examples == 2


def test_pairs_are_counted() -> None:
    assert check_training_lines(json_lines(PAIR, PAIR, PAIR)).num_examples == 3


def test_blank_lines_are_passed_over_but_counted_as_lines() -> None:
    lines = [*json_lines(GOOD), b"\n", b"   \r\n", b"{"]
    assert refusal(lines).line == 4


def test_windows_line_ends_are_fine() -> None:
    lines = [line.replace(b"\n", b"\r\n") for line in json_lines(GOOD, GOOD)]
    assert check_training_lines(lines).num_examples == 2


def test_a_byte_order_mark_is_fine_at_the_start_of_the_file() -> None:
    (line,) = json_lines(GOOD)
    assert check_training_lines([b"\xef\xbb\xbf" + line]).num_examples == 1


def test_a_byte_order_mark_is_no_json_further_down() -> None:
    first, second = json_lines(GOOD, GOOD)
    refused = refusal([first, b"\xef\xbb\xbf" + second])
    assert (refused.line, refused.code) == (2, datasets.NOT_JSON_LINES)


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"messages": [', id="cut off"),
        pytest.param(b"[1]", id="not an object"),
        pytest.param(b'"text"', id="a string"),
        pytest.param(b"\xff\xfe{}", id="not UTF-8"),
        pytest.param(b'{"prompt": NaN, "completion": "a"}', id="NaN"),
        pytest.param(b'{"prompt": -Infinity, "completion": "a"}', id="infinity"),
        pytest.param(b"[" * 100_000, id="deep nesting"),
        pytest.param(b'{"prompt": ' + b"9" * 5000 + b"}", id="a huge number"),
        pytest.param(b"{" + b" " * datasets.MAX_LINE_BYTES + b"}", id="a huge line"),
    ],
)
def test_what_is_no_json_object_is_refused_with_its_line(line: bytes) -> None:
    refused = refusal([*json_lines(GOOD), line])
    assert (refused.line, refused.code) == (2, datasets.NOT_JSON_LINES)


@pytest.mark.parametrize(
    "row", [{}, {"prompt": "a"}, {"instruction": "a"}, {"completion": "a"}, {"output": "a"}]
)
def test_an_unknown_format_is_refused_with_its_line(row: dict[str, Any]) -> None:
    refused = refusal(json_lines(row))
    assert (refused.line, refused.code) == (1, datasets.UNKNOWN_FORMAT)


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Greet.", "output": "Hello."},
        {"instruction": "Sum up.", "input": "A tale.", "output": "Short."},
        {"instruction": "Sum up.", "input": "", "output": "Short."},
        {"text": "Once upon a time."},
    ],
)
def test_instructions_and_texts_are_examples(row: dict[str, Any]) -> None:
    assert check_training_lines(json_lines(row, row)).num_examples == 2


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"instruction": "a", "output": ""}, datasets.BAD_EXAMPLE),
        ({"instruction": 1, "output": "a"}, datasets.BAD_EXAMPLE),
        ({"instruction": "a", "input": None, "output": "a"}, datasets.BAD_EXAMPLE),
        ({"instruction": "a", "output": "a", "context": "a"}, datasets.EXTRA_KEY),
        ({"text": ""}, datasets.BAD_EXAMPLE),
        ({"text": ["a"]}, datasets.BAD_EXAMPLE),
        ({"text": "a", "label": 1}, datasets.EXTRA_KEY),
    ],
)
def test_a_defective_instruction_or_text_is_refused_with_its_line(
    row: dict[str, Any], code: str
) -> None:
    refused = refusal(json_lines(row))
    assert (refused.line, refused.code) == (1, code)


def test_a_file_is_of_one_kind() -> None:
    refused = refusal(json_lines(GOOD, GOOD, PAIR))
    assert (refused.line, refused.code) == (3, datasets.UNKNOWN_FORMAT)


@pytest.mark.parametrize("row", [{**GOOD, "label": 1}, {**PAIR, "label": 1}])
def test_a_key_that_nobody_would_read_is_refused_by_name(row: dict[str, Any]) -> None:
    refused = refusal(json_lines(row))
    assert refused.code == datasets.EXTRA_KEY
    assert refused.line == 1
    assert '"label"' in refused.message


def test_tools_may_stand_beside_the_messages() -> None:
    row = {**GOOD, "tools": [], "parallel_tool_calls": False}
    assert check_training_lines(json_lines(row)).num_examples == 1


@pytest.mark.parametrize(
    "messages",
    [
        pytest.param([], id="none"),
        pytest.param("Hello", id="text"),
        pytest.param(["Hello"], id="a message that is text"),
        pytest.param([{"content": "Hi"}], id="no role"),
        pytest.param([{"role": "robot", "content": "Hi"}], id="an unknown role"),
        pytest.param([{"role": ["user"], "content": "Hi"}], id="a list for a role"),
        pytest.param([{"role": {}, "content": "Hi"}], id="an object for a role"),
        pytest.param([{"role": "assistant"}], id="no content"),
        pytest.param([{"role": "assistant", "content": None}], id="null content"),
        pytest.param([{"role": "assistant", "content": 5}], id="content that is a number"),
        pytest.param([{"role": "assistant", "content": ["a"]}], id="a part that is text"),
        pytest.param(
            [{"role": "assistant", "content": [{"type": "image_url"}]}], id="a part with an image"
        ),
        pytest.param([{"role": "user", "content": "Hi"}], id="nobody to learn from"),
        pytest.param([{"role": "assistant", "content": "a", "weight": 0.5}], id="half a weight"),
        pytest.param([{"role": "assistant", "content": "a", "weight": []}], id="a list as weight"),
        pytest.param([{"role": "assistant", "content": "a", "weight": True}], id="true as weight"),
        pytest.param([{"role": "assistant", "content": "a", "weight": 0}], id="all of weight zero"),
        pytest.param(
            [{"role": "assistant", "content": None, "tool_calls": [{}], "weight": 7}],
            id="a weight of seven on a tool call",
        ),
        pytest.param(
            [
                {"role": "user", "content": "Hi", "weight": 1},
                {"role": "assistant", "content": "a"},
            ],
            id="a weight on what is not learnt",
        ),
    ],
)
def test_a_defective_conversation_is_refused_with_its_line(messages: Any) -> None:
    refused = refusal(json_lines(GOOD, {"messages": messages}))
    assert (refused.line, refused.code) == (2, datasets.BAD_EXAMPLE)


@pytest.mark.parametrize("weight", [0, 1, 0.0, 1.0, None])
def test_an_answer_may_have_a_weight(weight: float | None) -> None:
    answers = [{"role": "assistant", "content": "a", "weight": w} for w in (weight, 1)]
    row = {"messages": answers}
    assert check_training_lines(json_lines(row)).num_examples == 1


def test_content_may_come_in_parts_of_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert check_training_lines(json_lines(conversation(("assistant", parts)))).num_examples == 1


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": 1, "completion": "a"},
        {"prompt": "a", "completion": None},
        {"prompt": "a", "completion": ""},
    ],
)
def test_a_defective_pair_is_refused_with_its_line(row: dict[str, Any]) -> None:
    refused = refusal(json_lines(PAIR, row))
    assert (refused.line, refused.code) == (2, datasets.BAD_EXAMPLE)


def test_half_a_character_is_refused_because_it_cannot_be_written_anywhere() -> None:
    line = b'{"messages": [{"role": "assistant", "content": "a"}], "\\uD83D": 1}'
    refused = refusal([line])
    assert (refused.line, refused.code) == (1, datasets.BAD_EXAMPLE)
    refused.message.encode()


def test_an_escaped_whole_character_is_fine() -> None:
    line = json.dumps(conversation(("assistant", "😀"))).encode()
    assert b"\\ud83d" in line
    assert check_training_lines([line]).num_examples == 1


@pytest.mark.parametrize("num_examples", [0, 9])
def test_too_few_examples_are_refused_with_their_number(num_examples: int) -> None:
    summary = check_training_lines(json_lines(*[GOOD] * num_examples))
    with pytest.raises(InvalidTrainingData) as refused:
        require_enough_examples(summary)
    assert (refused.value.code, refused.value.line) == (datasets.TOO_FEW_EXAMPLES, None)
    assert str(num_examples) in refused.value.message


def test_ten_examples_are_enough() -> None:
    require_enough_examples(check_training_lines(json_lines(*[GOOD] * 10)))


def preference(**changes: Any) -> dict[str, Any]:
    row = {
        "input": {"messages": [{"role": "user", "content": "Hi"}]},
        "preferred_output": [{"role": "assistant", "content": "Good day."}],
        "non_preferred_output": [{"role": "assistant", "content": "What?"}],
    }
    return {**row, **changes}


def preference_refusal(row: dict[str, Any]) -> InvalidTrainingData:
    with pytest.raises(InvalidTrainingData) as refused:
        check_training_lines(json_lines(preference(), row), Method.DPO)
    assert refused.value.line == 2
    return refused.value


def test_preferences_are_counted_in_both_spellings() -> None:
    row = preference()
    older = {
        "input": row["input"],
        "preferred_completion": row["preferred_output"],
        "non_preferred_completion": row["non_preferred_output"],
    }
    assert check_training_lines(json_lines(row, older), Method.DPO).num_examples == 2


def test_a_preference_may_be_about_tool_calls() -> None:
    tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
    call = {"id": "1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    row = preference(
        input={**preference()["input"], "tools": tools, "parallel_tool_calls": False},
        preferred_output=[{"role": "assistant", "content": None, "tool_calls": [call]}],
    )
    assert check_training_lines(json_lines(row), Method.DPO).num_examples == 1


@pytest.mark.parametrize("key", ["input", "preferred_output", "non_preferred_output"])
def test_a_preference_says_what_it_lacks(key: str) -> None:
    row = preference()
    del row[key]
    refused = preference_refusal(row)
    assert refused.code == datasets.UNKNOWN_FORMAT
    assert f"Example 2 is missing key '{key}'" in refused.message


def test_preferences_cannot_be_learned_from_conversations() -> None:
    with pytest.raises(InvalidTrainingData, match="Example 1 is missing key 'input'") as refused:
        check_training_lines(json_lines(GOOD), Method.DPO)
    assert refused.value.line == 1


def test_examples_cannot_be_learned_from_preferences() -> None:
    refused = refusal(json_lines(preference()))
    assert (refused.line, refused.code) == (1, datasets.UNKNOWN_FORMAT)
    assert "chat messages" in refused.message


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"input": "Hi"}, id="an input that is text"),
        pytest.param({"input": {}}, id="an input without messages"),
        pytest.param({"input": {"messages": []}}, id="no messages"),
        pytest.param({"preferred_output": []}, id="no answer"),
        pytest.param({"preferred_output": "Hi"}, id="an answer that is text"),
        pytest.param(
            {"preferred_output": [{"role": "user", "content": "a"}]}, id="an answer by the user"
        ),
        pytest.param(
            {"non_preferred_output": [{"role": "assistant", "content": "a"}] * 2}, id="two answers"
        ),
        pytest.param(
            {"preferred_output": [{"role": "assistant", "content": "a", "weight": 1}]},
            id="a weight",
        ),
    ],
)
def test_a_defective_preference_is_refused_with_its_line(changes: dict[str, Any]) -> None:
    assert preference_refusal(preference(**changes)).code == datasets.BAD_EXAMPLE


@pytest.mark.parametrize(
    "changes",
    [
        {"label": 1},
        {"preferred_completion": [{"role": "assistant", "content": "a"}]},
        {"input": {**preference()["input"], "functions": []}},
    ],
)
def test_a_preference_has_no_keys_that_nobody_would_read(changes: dict[str, Any]) -> None:
    assert preference_refusal(preference(**changes)).code == datasets.EXTRA_KEY
